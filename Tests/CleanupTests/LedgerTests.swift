import Glibc
import LinuxKernel
import Network
import SandboxCgroups
import TestSupport
import Testing

@testable import Cleanup

@Suite("the ledger")
struct LedgerTests {
    /// A directory of directories of sandboxes.
    private let scratch = Scratch()
    private var place: String { scratch.path }
    private var directory: String { place + "/one" }

    private static func sleeper() throws -> (child: ChildProcess, identity: ProcessIdentity) {
        let child = try ChildProcess(Command("/bin/sleep", ["1000"]))
        return (child, try #require(ProcessIdentity(child.pid)))
    }

    private static let examples: [Ledger.Entry] = [
        .owner(id: ProcessIdentity(pid: 7, start: 9)),
        .process(id: ProcessIdentity(pid: 8, start: 1 << 60), name: "qemu"),
        .mount(path: "/run/vc/vm/a\"\nb/x", namespace: 4_026_531_841),
        .directory(path: "/run/kata-containers/shared/sandboxes/é"),
        .socket(path: "/run/containerd/s/0"), .cgroup(path: "/sys/fs/cgroup/kata/x"),
    ]

    @Test(
        "records are read back in order, without undone and truncated ones"
    )
    func page() throws {
        var journal = Journal(boot: "b")
        for (index, entry) in Self.examples.enumerated() { journal.apply(.init(number: index + 1, entry: entry)) }
        journal.apply(.init(number: 2))
        let read = try #require(Journal(journal.bytes))
        #expect(read == journal && read.records.compactMap(\.entry) == Self.examples.filter { $0 != Self.examples[1] })
        for cut in 1..<12 {
            let torn =
                Array(journal.bytes.dropLast(cut))
                + Journal.encode(Journal.Record(number: 9, entry: Self.examples[0]))
            let records = try #require(Journal(torn)).records
            #expect(records.dropLast() == journal.records.dropLast() && records.last?.number == 9)
        }
    }

    @Test(
        "what a sandbox has keeps its place when it becomes another thing, and its name when the sandbox gets another")
    func renamed() throws {
        var journal = Journal(boot: "b")
        for (index, entry) in Self.examples.enumerated() { journal.apply(.init(number: index + 1, entry: entry)) }
        journal.apply(.init(number: 2, entry: .socket(path: "/s")))
        #expect(journal.records.map(\.number) == [1, 2, 3, 4, 5, 6] && journal.records[1].entry == .socket(path: "/s"))

        let share = "/run/kata-containers/shared/sandboxes/"
        let below = Ledger.Entry.mount(path: share + "a/shared", namespace: 4)
        #expect(below.renamed(from: "a", to: "b") == .mount(path: share + "b/shared", namespace: 4))
        #expect(Ledger.Entry.directory(path: share + "a").renamed(from: "a", to: "b") == .directory(path: share + "b"))
        #expect(Ledger.Entry.directory(path: share + "ab").renamed(from: "a", to: "b") == nil)
        #expect(Self.examples.allSatisfy { $0.renamed(from: "a", to: "b") == nil })

        let ledger = try Ledger.begin(in: directory)
        let socket = try ledger.add(.socket(path: place + "/old.sock"))
        try ledger.add(.directory(path: share + "one"))
        // The remains of a dead sandbox with the name are removed; a living one keeps them.
        try Files.makeDirectory(place + "/two")
        var dead = Journal(boot: try #require(Ledger.currentBoot))
        dead.apply(.init(number: 1, entry: .owner(id: ProcessIdentity(pid: 1 << 30, start: 1))))
        try Files.write(Ledger.file(in: place + "/two"), dead.bytes)
        try ledger.move(to: "two")
        #expect(ledger.directory == place + "/two" && !Files.exists(directory))
        try ledger.replace(socket, by: .socket(path: place + "/new.sock"))
        let lines = try #require(try Ledger.read(place + "/two")).records.compactMap(\.entry)
        #expect(lines.dropFirst() == [.socket(path: place + "/new.sock"), .directory(path: share + "two")])
        let other = try Ledger.begin(in: directory)
        #expect(throws: LedgerError.self) { try other.move(to: "two") }
        #expect(Files.exists(directory) && ledger.directory == place + "/two")
        ledger.end()
        other.end()
        #expect(Files.list(place).isEmpty)
    }

    @Test("every kind is read as earlier versions have written it")
    func earlierFiles() throws {
        Ledger.register([LinkCleanup.self, CgroupCleanup.self])
        let entries = [
            #"{"keeper":{"id":{"pid":7,"start":9}}}"#, #"{"process":{"id":{"pid":8,"start":2},"name":"qemu"}}"#,
            #"{"mount":{"namespace":4026531841,"path":"/run/vc/vm/x"}}"#, #"{"directory":{"path":"/run/vc/vm/y"}}"#,
            #"{"socket":{"path":"/s"}}"#, #"{"controlGroup":{"path":"/docker/kata_1"}}"#,
            #"{"link":{"identity":3,"namespace":"/proc/1/ns/net","record":{"hardwareAddress":"02:42:ac:11:00:02","link":2,"number":1,"source":"redirected"}}}"#,
        ]
        let lines = entries.enumerated().map { #"{"entry":\#($1),"number":\#($0 + 1)}"# }
        let text = "\n" + #"{"boot":"b","processes":{"inode":1},"version":1}"# + "\n" + lines.joined(separator: "\n")
        let journal = try #require(Journal(Array(text.utf8)))
        #expect(journal.records.count == entries.count)
        #expect(journal.records[1].entry == .process(id: ProcessIdentity(pid: 8, start: 2), name: "qemu"))
        #expect(journal.records[5].entry == .cgroup(path: "/docker/kata_1"))
        #expect(String(decoding: journal.bytes, as: UTF8.self) == text)
    }

    @Test("whatever a file holds, reading it ends, and gives nothing that was not whole")
    func fuzz() {
        var journal = Journal(boot: "b")
        for (index, entry) in Self.examples.enumerated() { journal.apply(.init(number: index + 1, entry: entry)) }
        let sound = journal.bytes
        var random = Seeded(5)
        for _ in 0..<Fuzz.rounds(2000, of: "ledgers") {
            var bytes = sound
            for _ in 0..<Int.random(in: 1...8, using: &random) {
                let at = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
                case 1: bytes.remove(at: at)
                default: bytes.insert(contentsOf: sound[0..<min(40, sound.count)], at: at)
                }
            }
            guard let read = Journal(bytes) else { continue }
            #expect(read.records.count <= bytes.split(separator: 10).count)
            // Whatever came through stays the same when it is written again.
            #expect(Journal(read.bytes)?.records == read.records)
        }
    }

    @Test("a sandbox's process is killed; one that only has its number is not")
    func recycledNumber() throws {
        let (ours, identity) = try Self.sleeper()
        let (other, stranger) = try Self.sleeper()
        let ledger = try Ledger.begin(in: directory)
        try ledger.add(.process(id: identity, name: "ours"))
        try ledger.add(.process(id: ProcessIdentity(pid: stranger.pid, start: stranger.start + 1), name: "gone"))
        ledger.end()
        #expect(ours.wait() == .signalled(SIGKILL))
        #expect(stranger.life != .ended)
        other.signal(SIGKILL)
        _ = other.wait()
        #expect(Files.list(place) == [])
    }

    @Test(
        "the name of a living sandbox is refused with its owner's pid; a dead sandbox is cleaned up first, but for saved files"
    )
    func names() throws {
        let (keeper, identity) = try Self.sleeper()
        let (child, left) = try Self.sleeper()
        do {
            let first = try Ledger.begin(in: directory)
            try first.add(.owner(id: identity))
            try first.add(.process(id: left, name: "left"))
        }
        let refusal = #expect(throws: LedgerError.self) { try Ledger.begin(in: directory) }
        #expect(refusal?.description.contains("in use") == true)
        #expect(left.life != .ended)
        // Both keepers are gone: the one that began, which is this process, is made to look so.
        let text = try Files.readText(directory + "/ledger")
        let own = try #require(ProcessIdentity.own)
        try Files.write(directory + "/ledger", text.replacing("\"start\":\(own.start)", with: "\"start\":1"))
        keeper.signal(SIGKILL)
        _ = keeper.wait()
        try Files.write(directory + "/due", "text")
        var saved: [String] = []
        _ = try Ledger.begin(in: directory) { saved.append((try? Files.readText($0 + "/due")) ?? "nothing in \($0)") }
        #expect(saved == ["text"])
        #expect(child.wait() == .signalled(SIGKILL))
        #expect(Files.list(place) == ["one"])
    }

    @Test("a directory of something else is neither used nor touched")
    func strangers() throws {
        try Files.makeDirectory(directory)
        try Files.write(directory + "/precious", "text")
        #expect(throws: LedgerError.self) { try Ledger.begin(in: directory) }
        #expect(Files.list(place) == ["one"] && Files.list(directory) == ["precious"])
    }

    @Test("a path outside Kata's directories is never removed, and no file is taken for a socket")
    func outside() throws {
        try Files.makeDirectory(place + "/kept/empty")
        try Files.write(place + "/kept/file", "text")
        let ledger = try Ledger.begin(in: directory)
        for path in [place + "/kept", "/run/vc/vm/..\(place)/kept", Ledger.machines, Ledger.machines + "/"] {
            try ledger.add(.directory(path: path))
        }
        try ledger.add(.mount(path: place + "/kept/empty", namespace: 1))
        try ledger.add(.socket(path: place + "/kept/file"))
        try ledger.add(.cgroup(path: "/sys/fs/cgroup/../../..\(place)/kept/empty"))
        ledger.end()
        #expect(Files.list(place + "/kept") == ["empty", "file"])
        #expect(Files.exists("/run/vc/vm") || !Files.exists("/run/vc/vm/x"))
    }

    @Test(
        "a ledger that one process began is continued by another, and stays short over many containers"
    )
    func long() throws {
        _ = try Ledger.begin(in: directory)
        let ledger = try Ledger.resume(in: directory)
        let kept = try ledger.add(.directory(path: "/run/vc/vm/kept"))
        for index in 0..<3000 { ledger.undo(try ledger.add(.socket(path: "/nowhere/\(index)"))) }
        #expect(try Files.read(directory + "/ledger").count < 100 << 10)
        #expect(Journal(try Files.read(directory + "/ledger"))?.records.count == 2)
        #expect(ledger.mark != kept)
        ledger.end()
        #expect(Files.list(place) == [])
    }

    @Test("after a restart of the host only files are left to remove: numbers of processes mean nothing any more")
    func restart() throws {
        let (child, identity) = try Self.sleeper()
        do { try Ledger.begin(in: directory).add(.process(id: identity, name: "other")) }
        let text = try Files.readText(directory + "/ledger")
        try Files.write(directory + "/ledger", text.replacing(try #require(Ledger.currentBoot), with: "another"))
        try Ledger.cleanUpDead(directory)
        #expect(identity.life != .ended && Files.list(place) == [])
        child.signal(SIGKILL)
        _ = child.wait()
    }

    @Test("what a later version has made is left to that, in one line; a line that only that one knows is no harm")
    func later() throws {
        let (child, identity) = try Self.sleeper()
        do { try Ledger.begin(in: directory).add(.process(id: identity, name: "theirs")) }
        let own = try #require(ProcessIdentity.own)
        let text = try Files.readText(directory + "/ledger").replacing("\"start\":\(own.start)", with: "\"start\":1")
        try Files.write(directory + "/ledger", text.replacing("\"version\":1", with: "\"version\":2"))
        for attempt in [
            { try Ledger.cleanUpDead(directory) }, { _ = try Ledger.begin(in: directory) },
            { _ = try Ledger.resume(in: directory) },
        ] {
            let refusal = #expect(throws: LedgerError.self) { try attempt() }
            #expect(refusal?.description.contains("made by a later version") == true)
        }
        Ledger.cleanUp(directory)
        #expect(identity.life != .ended && Files.list(place) == ["one"])
        try Files.write(
            directory + "/ledger", text + "\n{\"entry\":{\"teapot\":{\"path\":\"/x\"}},\"number\":9}")
        try Ledger.cleanUpDead(directory)
        #expect(child.wait() == .signalled(SIGKILL) && Files.list(place) == [])
    }

    @Test("of two processes that take a sandbox away the second waits, and leaves the next one of the name alone")
    func together() throws {
        do { _ = try Ledger.begin(in: directory) }
        let path = directory + "/ledger"
        let text = try Files.readText(path)
        // Acts as after the owner's end.
        let own = try #require(ProcessIdentity.own)
        try Files.write(path, text.replacing("\"start\":\(own.start)", with: "\"start\":1"))
        let directory = directory
        var ends: [Int32] = [-1, -1]
        try #require(pipe(&ends) == 0)
        let here = FileDescriptor(owning: ends[0])
        let there = ends[1]
        CleanupLock.hold(path) {
            _ = try? startThread("second") {
                Ledger.cleanUp(directory)
                close(there)
            }
            usleep(100_000)
            #expect(Files.exists(path))
            // The first has done it, and a new one has the name.
            #expect(rename(directory, directory + ".old") == 0)
            _ = try? Ledger.begin(in: directory)
        }
        #expect(try here.readAll("the second's end", limit: 1) == [])
        #expect(try Files.readText(path) == text)
    }

    @Test(
        "what processes of another pid or time namespace keep is left to them for as long as one may live",
        .enabled(if: getuid() == 0, "needs root: it makes namespaces"), arguments: ["--pid", "--time"])
    func elsewhere(kind: String) throws {
        let child = try ChildProcess(Command("/usr/bin/unshare", [kind, "--fork", "--kill-child", "sleep", "1000"]))
        var there: ProcessNamespace?
        for _ in 0..<500 where there == nil {
            usleep(10_000)
            let children = try Files.readText("/proc/\(child.pid)/task/\(child.pid)/children")
            there = children.split(separator: " ").first.flatMap { ProcessNamespace(of: String($0)) }
        }
        let namespace: ProcessNamespace = try #require(there)
        var journal = Journal(boot: try #require(Ledger.currentBoot), processes: namespace)
        journal.apply(.init(number: 1, entry: .owner(id: ProcessIdentity(pid: 1 << 30, start: 1))))
        try Files.makeDirectory(directory)
        try Files.write(directory + "/ledger", journal.bytes)
        let refusal = #expect(throws: LedgerError.self) { try Ledger.cleanUpDead(directory) }
        #expect(refusal?.description.contains("another pid or time namespace") == true)
        #expect(throws: LedgerError.self) { _ = try Ledger.begin(in: directory) }
        Ledger.cleanUp(directory)
        #expect(Files.list(place) == ["one"] && Ledger.ownerLife(directory) == .running)
        #expect(!Ledger.owns(socket: "/nowhere", directory))
        // The socket shows from every namespace whether the shim lives: without a listener it belongs to a dead one.
        let socket = place + "/socket"
        journal.apply(.init(number: 2, entry: .socket(path: socket)))
        journal.apply(.init(number: 3, entry: .process(id: try #require(ProcessIdentity(child.pid)), name: "stranger")))
        try Files.write(directory + "/ledger", journal.bytes)
        #expect(Ledger.ownerLife(directory) == .running)
        do {
            let listener = try UnixSocket.listen(socket)
            #expect(Ledger.ownerLife(directory) == .running && listener.raw >= 0)
        }
        #expect(Ledger.ownerLife(directory) == .ended)
        Ledger.cleanUp(directory)
        // Pids of another namespace belong to other processes here.
        #expect(Files.list(place) == [] && ProcessIdentity(child.pid)?.life == .running)
        try Files.makeDirectory(directory)
        journal.apply(.init(number: 2))
        journal.apply(.init(number: 3))
        try Files.write(directory + "/ledger", journal.bytes)
        child.signal(SIGKILL)
        _ = child.wait()
        // From the host it can be seen that they have gone.
        if ProcessNamespace.own?.inode == 0xefff_fffc {
            for _ in 0..<500 where there?.isGone == false { usleep(10_000) }
            try Ledger.cleanUpDead(directory)
            #expect(Files.list(place) == [])
        }
    }

    @Test("after a restart of the host what a sandbox has still to do is saved before its directory goes")
    func dueAfterRestart() throws {
        do { _ = try Ledger.begin(in: directory) }
        try Files.write(directory + "/due", "text")
        let text = try Files.readText(directory + "/ledger")
        try Files.write(directory + "/ledger", text.replacing(try #require(Ledger.currentBoot), with: "another"))
        var saved: [String] = []
        try Ledger.cleanUpDead(directory) { saved.append((try? Files.readText($0 + "/due")) ?? "nothing") }
        #expect(saved == ["text"] && Files.list(place) == [])
    }

    @Test("entries cost little beside a boot")
    func cost() throws {
        let ledger = try Ledger.begin(in: directory)
        try ledger.add(.socket(path: "/nowhere/first"))
        let start = ContinuousClock.now
        for index in 0..<100 { try ledger.add(.mount(path: "/run/vc/vm/x/\(index)", namespace: 1)) }
        // 30 of them in a boot: some 3 ms in an unoptimised build, well under one in a release.
        #expect(ContinuousClock.now - start < .milliseconds(200))
        ledger.end()
    }
}

@Suite("identities of processes")
struct ProcessIdentityTests {
    @Test("a child is recorded before it runs, and doesn't run when its record is refused")
    func admission() throws {
        var template = Array("/tmp/kata-admit-XXXXXX".utf8CString)
        let directory = template.withUnsafeMutableBufferPointer { String(cString: mkdtemp($0.baseAddress!)) }
        defer { Files.removeTree(directory) }
        let mark = directory + "/ran"
        let refused = SystemError("write", "ledger", errno: ENOSPC)
        #expect(throws: refused) {
            try ChildProcess(Command("/bin/touch", [mark])) { _ throws(SystemError) in throw refused }
        }
        #expect(!Files.exists(mark))
        nonisolated(unsafe) var early = true
        nonisolated(unsafe) var told: ProcessIdentity?
        let child = try ChildProcess(Command("/bin/touch", [mark])) { process throws(SystemError) in
            usleep(50_000)
            (early, told) = (Files.exists(mark), process)
        }
        #expect(child.wait() == .exited(0))
        #expect(!early && Files.exists(mark) && told?.pid == child.pid)
    }

    @Test("running, stopped and ended processes are distinguished")
    func life() throws {
        let child = try ChildProcess(Command("/bin/sleep", ["1000"]))
        let process = try #require(ProcessIdentity(child.pid))
        #expect(process.life == .running)
        child.signal(SIGSTOP)
        for _ in 0..<200 where process.life != .stopped { usleep(5_000) }
        #expect(process.life == .stopped)
        // A stopped one is killed like any other.
        #expect(process.kill(within: .longWait))
        #expect(process.life == .ended)
        _ = child.wait()
        #expect(ProcessIdentity(child.pid) == nil)
    }
}
