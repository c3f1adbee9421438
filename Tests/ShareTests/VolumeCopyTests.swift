import Glibc
import LinuxKernel
import Synchronization
import TestSupport
import Testing

@testable import Share

@Suite("Volumes that kubelet updates in one step", .enabled(if: getuid() == 0, "needs root: it changes owners"))
struct VolumeCopyTests {
    private let scratch = Scratch()
    private var source: String { scratch.path + "/kubernetes.io~configmap/v" }
    private var target: String { scratch.path + "/copy" }

    /// Updates the volume as kubelet does (pkg/volume/util/atomic_writer.go).
    private func update(_ version: Int, _ files: [String: String]) throws {
        let (directory, old) = ("..v\(version)", try? Files.link(source + "/..data"))
        try Files.makeDirectory(source + "/" + directory, mode: 0o755)
        for (name, text) in files {
            try Files.write(source + "/\(directory)/\(name)", text, mode: 0o640)
            #expect(chown(source + "/\(directory)/\(name)", 5, 2000) == 0)
        }
        #expect(symlink(directory, source + "/..data_tmp") == 0)
        #expect(rename(source + "/..data_tmp", source + "/..data") == 0)
        for name in files.keys where !Files.isLink(source + "/" + name) {
            #expect(symlink("..data/" + name, source + "/" + name) == 0)
        }
        for name in Files.list(source) where !name.hasPrefix("..") && files[name] == nil { unlink(source + "/" + name) }
        if let old { Files.removeTree(source + "/" + old) }
    }

    @Test("the copy has kubelet's links, attributes and files, follows an update, and keeps the old files for a while")
    func copy() throws {
        try update(1, ["a": "one", "b": "one"])
        #expect(VolumeCopy.isNeeded(for: source) && !VolumeCopy.isNeeded(for: source + "/..v1"))
        var copy = try VolumeCopy(of: source, at: target)
        let facts = try FoundFile(target + "/a").facts
        #expect(facts.st_mode & 0o7777 == 0o640 && facts.st_uid == 5 && facts.st_gid == 2000)
        #expect(try Files.readText(target + "/a") == "one" && Files.link(target + "/b") == "..data/b")
        try update(2, ["a": "two", "c": "two"])
        try copy.update()
        #expect(try Files.readText(target + "/a") == "two" && Files.readText(target + "/c") == "two")
        #expect(Files.list(target) == ["..data", "..v1", "..v2", "a", "c"])
        // A reader whose link is the old one.
        #expect(try Files.readText(target + "/..v1/b") == "one")
        copy.removeOutdated()
        #expect(copy.outdated.map(\.name) == ["..v1"])
    }

    @Test("the copy has the changed owners of an id-mapped mount; an id without a range is the overflow id")
    func owners() throws {
        try update(1, ["a": "one"])
        let owners = OwnerMap(
            users: [.init(first: 0, shown: 100_000, count: 10)], groups: [.init(first: 0, shown: 7, count: 5)],
            isRecursive: false)
        _ = try VolumeCopy(of: source, at: target, owners: owners)
        for path in [target + "/a", target + "/..v1/a"] {
            let facts = try FoundFile(path).facts
            #expect(facts.st_uid == 100_005 && facts.st_gid == 65534)
        }
        #expect(try FoundFile(target + "/..v1").facts.st_uid == 100_000)
    }

    @Test("what is too large, or no such volume, is not copied")
    func refused() throws {
        try update(1, ["a": String(repeating: "x", count: 5 << 20)])
        let error = #expect(throws: SystemError.self) { _ = try VolumeCopy(of: source, at: target) }
        #expect(error?.code == EFBIG)
        try Files.makeDirectory(scratch.path + "/kubernetes.io~secret/plain")
        #expect(!VolumeCopy.isNeeded(for: scratch.path + "/kubernetes.io~secret/plain"))
    }

    @Test("links of the source lead nowhere: not to the directory above, not to another file, not through a directory")
    func hostile() throws {
        try Files.write(scratch.path + "/secret", "secret")
        try Files.makeDirectory(scratch.path + "/elsewhere")
        try Files.write(scratch.path + "/elsewhere/a", "secret")
        try Files.makeDirectory(source + "/..v1")
        func lead(_ name: String, to place: String) {
            unlink(source + "/" + name)
            #expect(symlink(place, source + "/" + name) == 0)
        }
        for place in ["..", "..data", "../..", "/"] {
            lead("..data", to: place)
            #expect(throws: SystemError.self) { _ = try VolumeCopy(of: source, at: target) }
        }
        // A link is copied as a link, which the guest resolves itself.
        lead("..data", to: "..v1")
        #expect(symlink(scratch.path + "/secret", source + "/..v1/file") == 0)
        _ = try VolumeCopy(of: source, at: target)
        #expect(try Files.link(target + "/..v1/file") == scratch.path + "/secret")
        lead("..v2", to: scratch.path + "/elsewhere")
        lead("..data", to: "..v2")
        // A link in place of the directory: its files are not read.
        Files.removeTree(target)
        _ = try? VolumeCopy(of: source, at: target)
        #expect(!Files.exists(target + "/..v2/a"))
    }

    @Test("an update that can't be copied is reported once; the container keeps the files of before until the next")
    func tooLarge() throws {
        let faults = Mutex<[VolumeFault]>([])
        let copies = try VolumeCopies { fault in faults.withLock { $0.append(fault) } }
        defer { copies.stop() }
        try update(1, ["a": "one"])
        try copies.add(source, at: target)
        try update(2, ["a": String(repeating: "x", count: 5 << 20)])
        let deadline = ContinuousClock.now + .longWait
        while faults.withLock({ $0.isEmpty }), .now < deadline { usleep(1000) }
        // Another event in the same state.
        try Files.write(source + "/..other", "")
        usleep(50_000)
        let reported = faults.withLock { $0 }
        #expect(reported.map(\.effect) == [.staysOld] && reported.map(\.error.code) == [EFBIG])
        #expect(try reported.map(\.volume) == [#require(Files.real(source))] && Files.readText(target + "/a") == "one")
        try update(3, ["a": "three"])
        while try Files.readText(target + "/a") != "three", .now < deadline { usleep(1000) }
        #expect(try Files.readText(target + "/a") == "three" && faults.withLock { $0.count } == 1)
    }

    @Test("a version that kubelet removes while it is copied is never shown")
    func removedMeanwhile() throws {
        let names = ["a", "b"]
        func files(_ version: Int) -> [String: String] { .init(uniqueKeysWithValues: names.map { ($0, "\(version)") }) }
        try update(0, files(0))
        let copies = try VolumeCopies { _ in }
        defer { copies.stop() }
        try copies.add(source, at: target)
        for version in 1...300 { try update(version, files(version)) }
        let deadline = ContinuousClock.now + .longWait
        while try Files.link(target + "/..data") != "..v300", .now < deadline { usleep(1000) }
        // Versions that were shown before stay for ten seconds.
        let shown = Files.list(target).filter { $0.hasPrefix("..v") }
        #expect(shown.contains("..v300") && shown.allSatisfy { Files.list(target + "/" + $0) == names.sorted() })
    }

    @Test("a reader never misses a file and never sees two versions at once, whenever it has looked the link up")
    func reader() throws {
        try update(0, ["a": "0", "b": "0"])
        let copies = try VolumeCopies { _ in }
        defer { copies.stop() }
        try copies.add(source, at: target)
        for version in 1...20 {
            // A guest that has cached the link.
            let link = try Files.link(target + "/..data")
            let before = try Files.readText(target + "/\(link)/a")
            try update(version, ["a": "\(version)", "b": "\(version)"])
            let deadline = ContinuousClock.now + .longWait
            while try Files.readText(target + "/a") != "\(version)", .now < deadline { usleep(1000) }
            #expect(try Files.readText(target + "/b") == "\(version)")
            #expect(try Files.readText(target + "/\(link)/b") == before)
        }
        copies.remove(target)
        try update(100, ["a": "100"])
        usleep(50_000)
        #expect(try Files.readText(target + "/a") == "20")
    }
}
