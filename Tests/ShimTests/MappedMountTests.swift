import Cleanup
import Glibc
import LinuxKernel
import OCISpec
import Sandbox
import ShimAPI
import TestSupport
import Testing

@testable import Shim

@Suite("Root file systems with changed owners", .enabled(if: getuid() == 0, "needs root: it mounts"))
struct MappedMountTests {
    private let scratch = Scratch()

    private func mount(_ type: String, _ source: String, _ options: [String]) -> Containerd_Types_Mount {
        var mount = Containerd_Types_Mount()
        (mount.type, mount.source) = (type, source)
        mount.options = options + ["uidmap=0:100000:65536", "gidmap=0:200000:10,10:300000:10"]
        return mount
    }

    /// Makes the root file system, and gives it to `body`.
    private func root(_ mount: Containerd_Types_Mount, _ body: (String) throws -> Void) throws {
        let bundle = scratch.path + "/bundle"
        let ledger = try Ledger.begin(in: scratch.path + "/machines/s1")
        defer { ledger.end() }
        let root = try RootFilesystem.prepare(
            [mount], bundle: bundle, spec: Spec.example, ledger: ledger, plugsDisks: true)
        guard case .directory(let path) = root.source else {
            Issue.record("it is a disk")
            return
        }
        try body(path)
        for record in root.made.reversed() { ledger.undo(record) }
        let table = try MountTable.read().map(\.mountPoint)
        #expect(!table.contains { $0.hasPrefix(scratch.path + "/bundle") || $0.contains("/lower/") })
    }

    private func file(_ path: String, _ text: String, owner: uid_t = 0, group: gid_t = 0) throws {
        try Files.makeDirectory(Files.parent(of: path), mode: 0o755)
        try Files.write(path, text)
        #expect(chown(path, owner, group) == 0)
    }

    private func owner(_ path: String) throws -> [UInt32] {
        let facts = try FoundFile(path).facts
        return [facts.st_uid, facts.st_gid]
    }

    @Test(
        "an overlay shows its lower layers with changed owners, the upper one with its own, and leaves no layer mounted"
    )
    func overlay() throws {
        let place = scratch.path
        try inOwnMounts {
            // The kernel of this machine may have an overlay as its root, which can't be a layer's place for writing.
            try Files.makeDirectory(place + "/layers")
            try Mounts.mount("tmpfs", at: place + "/layers", type: "tmpfs")
            defer { Mounts.detach(place + "/layers") }
            let layers = place + "/layers"
            try file(layers + "/one/a", "one", owner: 5, group: 12)
            try file(layers + "/two/a", "two")
            try file(layers + "/two/b", "two", owner: 70_000)
            try file(layers + "/upper/c", "upper", owner: 100_000)
            try Files.makeDirectory(layers + "/work")
            let options = [
                "workdir=\(layers)/work", "upperdir=\(layers)/upper", "lowerdir=\(layers)/one:\(layers)/two",
            ]
            try root(mount("overlay", "overlay", options)) { (path: String) throws in
                #expect(try Files.readText(path + "/a") == "one" && owner(path + "/a") == [100_005, 300_002])
                #expect(try owner(path + "/b") == [65534, 200_000] && owner(path + "/c") == [100_000, 0])
                try Files.write(path + "/d", "new")
                #expect(try Files.readText(layers + "/upper/d") == "new")
                #expect(!Files.exists(place + "/machines/s1/lower/1/a"))
            }
        }
    }

    @Test("a bind shows its files with changed owners, read-only where that is asked for")
    func bind() throws {
        let place = scratch.path
        try inOwnMounts {
            try file(place + "/tree/a", "a", owner: 1, group: 1)
            try root(mount("bind", place + "/tree", ["rbind", "ro"])) { (path: String) throws in
                #expect(try owner(path + "/a") == [100_001, 200_001])
                #expect(throws: SystemError.self) { try Files.write(path + "/b", "") }
            }
        }
    }

    @Test("ids that are no numbers, or of one kind only, are refused with the option")
    func refused() {
        func refusal(_ options: String...) -> String? {
            var mount = Containerd_Types_Mount()
            mount.options = options
            do { _ = try MappedMount(mount) } catch { return error.description }
            return nil
        }
        #expect(refusal("uidmap=0:1") == "rootfs: \"uidmap=0:1\" is no list of id:id:count")
        #expect(refusal("uidmap=0:1:1") == "rootfs: \"gidmap=\" is missing: ids are mapped by both lists")
        #expect(refusal("uidmap=0:1:0", "gidmap=0:0:1") == "rootfs: \"uidmap=0:1:0\" is no list of id:id:count")
        #expect(refusal("uidmap=0:1:1", "gidmap=0:0:1") == nil)
    }
}
