import Cleanup
import Glibc
import LinuxKernel
import OCISpec
import Synchronization
import TestSupport
import Testing

@testable import GuestSpec
@testable import Share

@Suite("sources of shares", .enabled(if: getuid() == 0, "needs root: it copies mounts"))
struct SharedPathsTests {
    private let scratch = Scratch()

    private func share(_ source: String, recursive: Bool = true) -> GuestSpec.HostPathShare {
        GuestSpec.HostPathShare(source: source, mounted: "/unused", readOnly: true, recursive: recursive)
    }

    /// A view of this process's own namespace, as if its mounts were others.
    private func view(_ table: [MountEntry], ours: [MountEntry], except own: Set<String>) throws -> ManagerView? {
        let namespace = SharedDescriptor(try FileDescriptor.open("/proc/self/ns/mnt", O_RDONLY))
        return ManagerView(
            namespace, SharedDescriptor(try FileDescriptor.open("/", O_RDONLY)), table, ours: ours, except: own)
    }

    /// A process with a mount namespace of its own, in which `script` has run.
    private func withManager(_ script: String, _ body: (Int32) throws -> Void) throws {
        var command = Command("/bin/sh", ["-c", script + " && echo && exec sleep 60"])
        command.newNamespaces = 0x20000  // CLONE_NEWNS
        let child = try ChildWithOutput(command, output: [1])
        defer {
            child.process.signal(SIGKILL)
            _ = child.process.wait()
        }
        let isReady = child.output.isReadable(by: .now + .longWait)
        #expect(isReady)
        try body(child.process.pid)
    }

    @Test("a source that the manager sees too is copied here; one that is another there is the manager's")
    func identity() throws {
        let source = scratch.path
        let mine = try KernelMounts().copy(share(source), in: nil)
        let own = mine.identity
        try withManager("mount -t tmpfs none \(source)") { process in
            let view = try #require(try ManagerView(of: process, except: []))
            let other = try KernelMounts().copy(share(source), in: view)
            let (facts, identity, isSeenHere) = (try other.tree.facts(source), other.identity, other.isSeenHere)
            #expect(identity != own && UInt64(facts.st_dev) != own.device && !isSeenHere)
            let same = try KernelMounts().copy(share("/usr"), in: view)
            let here = try KernelMounts().copy(share("/usr"), in: nil)
            let (isSame, known) = (same.isSeenHere && same.identity == here.identity, here.isSeenHere)
            #expect(isSame && known)
        }
    }

    @Test("a source is the manager's where something is mounted below it there alone, unless mounts below don't count")
    func below() throws {
        try Files.makeDirectory(scratch.path + "/source/below")
        try withManager("cd \(scratch.path)/source; mount -t tmpfs none below && : > below/file") { process in
            let view = try #require(try ManagerView(of: process, except: []))
            let source = scratch.path + "/source"
            let copy = try KernelMounts().copy(share(source), in: view)
            let (isSeenHere, below) = (copy.isSeenHere, try FoundFile("/proc/self/fd/\(copy.tree.raw)/below").facts)
            let outside = try FoundFile(scratch.path).facts
            #expect(!isSeenHere && below.st_dev != outside.st_dev)
            let alone = try KernelMounts().copy(share(source, recursive: false), in: view)
            let isAloneSeenHere = alone.isSeenHere
            #expect(isAloneSeenHere)
            // A link's absolute target is the manager's too.
            #expect(symlink(source + "/below/file", scratch.path + "/link") == 0)
            #expect(view.kind(of: source + "/below") == .directory && view.kind(of: scratch.path + "/link") == .file)
        }
    }

    @Test("two containers that have a source only their manager sees have one mount of it")
    func twice() throws {
        let ledger = try Ledger.begin(in: scratch.path + "/machine")
        let paths = SandboxPaths(sandbox: "s", root: scratch.path)
        try Files.makeDirectory(paths.mounts)
        try Files.makeDirectory(scratch.path + "/volume")
        let mounts = CopiedMounts()
        try withManager("mount -t tmpfs none \(scratch.path)/volume") { process in
            let view = try #require(try ManagerView(of: process, except: [paths.shareParent]))
            var shared = SharedPaths(paths, ledger, mounts) { _ in }
            var uses = [SharedPaths.Use(), SharedPaths.Use()]
            for (index, name) in ["c1", "c2"].enumerated() {
                var spec = Spec.example
                spec.mounts = [
                    Mount(destination: "/v", type: "bind", source: scratch.path + "/volume", options: ["rbind"])
                ]
                let guest = try GuestSpec(
                    spec, container: name, paths: paths, kind: { view.kind(of: $0) },
                    mountTable: { view.mountTable })
                _ = try shared.share(guest, in: view, servers: [], for: &uses[index])
            }
            #expect(mounts.targets.count == 1)
        }
        ledger.end()
    }

    /// Shares a mount of each source with a container, as `name` and `rw` or `ro`.
    private func share(
        _ sources: [(path: String, option: String)], as name: String, _ shared: inout SharedPaths,
        _ paths: SandboxPaths
    ) throws -> (use: SharedPaths.Use, places: [String], options: [[String]]) {
        var spec = Spec.example
        spec.mounts = sources.enumerated().map {
            Mount(destination: "/v\($0)", type: "bind", source: $1.path, options: ["rbind", $1.option])
        }
        var use = SharedPaths.Use()
        let guest = try shared.share(
            GuestSpec(spec, container: name, paths: paths), in: nil, servers: [], for: &use)
        let top = "/run/kata-containers/shared/containers/"
        let mounts = guest.spec.mounts ?? []
        return (use, mounts.map { String(($0.source ?? "").dropFirst(top.count)) }, mounts.map { $0.options ?? [] })
    }

    /// The mount points in the share, with `rw` or `ro`.
    private func made(_ paths: SandboxPaths) throws -> [String] {
        try MountTable.read(of: "thread-self").filter { $0.mountPoint.hasPrefix(paths.mounts + "/") }.map {
            $0.mountPoint.dropFirst(paths.mounts.count + 1) + ($0.options.contains("ro") ? " ro" : " rw")
        }.sorted()
    }

    @Test("one mount in the share serves all of a volume's mounts: both accesses, parts of it, subPath and hard links")
    func oneShare() throws {
        let (place, ledger) = (scratch.path, try Ledger.begin(in: scratch.path + "/machine"))
        let paths = SandboxPaths(sandbox: "s", root: scratch.path)
        try inOwnMounts {
            try Mounts.mount("none", at: "/", flags: UInt(MS_REC) | UInt(MS_SHARED))
            for name in ["/fs", "/subpath"] { try Files.makeDirectory(place + name) }
            try Mounts.mount("none", at: place + "/fs", type: "tmpfs")
            let (volume, part) = (place + "/fs/volume", place + "/fs/volume/a/part")
            try Files.makeDirectory(part)
            try Files.write(volume + "/file", "")
            try Files.write(place + "/fs/link", "")
            link(place + "/fs/link", place + "/fs/link2")
            symlink("/usr", volume + "/escape")
            try Mounts.bind(part, at: place + "/subpath")
            var shared = SharedPaths(paths, ledger, KernelMounts()) { _ in }
            try shared.export()
            defer {
                for path in [paths.exported, place + "/subpath", place + "/fs"] { Mounts.detach(path) }
            }
            var one = try share([(volume, "ro")], as: "c1", &shared, paths)
            #expect(try one.places == [".v1"] && made(paths) == [".v1 ro"])
            // A part that may be written to does not open the rest.
            var two = try share([(part, "rw")], as: "c2", &shared, paths)
            #expect(try two.places == [".v2"] && made(paths) == [".v1 ro", ".v2 rw"])
            shared.release(&two.use, servers: [])
            var three = try share([(place + "/subpath", "ro"), (volume, "rw")], as: "c3", &shared, paths)
            #expect(try three.places == [".v1/a/part", ".v1"] && made(paths) == [".v1 rw"])
            #expect(three.options.map { $0.contains("ro") } == [true, false])
            var four = try share(
                [
                    (volume + "/escape", "ro"), (volume + "/file", "rw"), (place + "/fs/link2", "ro"),
                    (place + "/fs/link", "rw"),
                ], as: "c4", &shared, paths)
            #expect(four.places == [".v3", ".v1/file", ".v4", ".v4"])
            #expect(try made(paths) == [".v1 rw", ".v3 ro", ".v4 rw"])
            shared.release(&three.use, servers: [])
            shared.release(&four.use, servers: [])
            #expect(try made(paths) == [".v1 ro"])
            shared.release(&one.use, servers: [])
            #expect(try made(paths) == [])
        }
        ledger.end()
    }

    @Test("a source whose own mount is read-only stays so for its user, when another one may write")
    func closedSource() throws {
        let (place, ledger) = (scratch.path, try Ledger.begin(in: scratch.path + "/machine"))
        let paths = SandboxPaths(sandbox: "s", root: scratch.path)
        try inOwnMounts {
            try Mounts.mount("none", at: "/", flags: UInt(MS_REC) | UInt(MS_SHARED))
            for name in ["/volume", "/closed"] { try Files.makeDirectory(place + name) }
            try Mounts.mount("none", at: place + "/volume", type: "tmpfs")
            try Mounts.bind(place + "/volume", at: place + "/closed")
            try Mounts.setReadOnly(true, place + "/closed")
            var shared = SharedPaths(paths, ledger, KernelMounts()) { _ in }
            try shared.export()
            defer {
                for path in [paths.exported, place + "/closed", place + "/volume"] { Mounts.detach(path) }
            }
            var one = try share([(place + "/closed", "rw")], as: "c1", &shared, paths)
            #expect(try made(paths) == [".v1 ro"] && one.options == [["rbind", "ro"]])
            var two = try share([(place + "/volume", "rw")], as: "c2", &shared, paths)
            #expect(try made(paths) == [".v1 rw"] && two.options == [["rbind", "rw"]])
            shared.release(&one.use, servers: [])
            shared.release(&two.use, servers: [])
        }
        ledger.end()
    }

    @Test("a mount becomes writable in the server's mount namespace too")
    func servers() throws {
        try withManager("mount -t tmpfs -o ro none \(scratch.path)") { process in
            func isReadOnly() throws -> Bool? {
                try MountTable.read(of: "\(process)").last { $0.mountPoint == scratch.path }?.options.contains("ro")
            }
            #expect(try isReadOnly() == true)
            let name = String(scratch.path.dropFirst())
            try KernelMounts().setWritable(true, [], name: name, servers: [getpid(), process])
            #expect(try isReadOnly() == false)
            try KernelMounts().setWritable(false, [], name: name, servers: [process])
            #expect(try isReadOnly() == true)
        }
    }

    @Test("mounts that the sandbox has made are no difference; each other one is")
    func differences() throws {
        func table(_ points: [String]) -> [MountEntry] {
            MountTable.parse(points.map { "1 2 0:5 / \($0) rw - tmpfs none rw" }.joined(separator: "\n"))
        }
        let ours = table(["/", "/data", "/run/shared/s/mounts/c", "/gone"])
        let view = try #require(
            try self.view(table(["/", "/data", "/new/x"]), ours: ours, except: ["/run/shared/s"]))
        #expect(view.differs(below: "/") && view.differs(below: "/new") && !view.differs(below: "/data"))
        #expect(!view.differs(below: "/run"))
        #expect(
            try self.view(table(["/", "/data"]), ours: table(["/data", "/", "/run/s/x"]), except: ["/run/s"]) == nil)
    }

    @Test("a share shows its files with changed owners")
    func owners() throws {
        let source = scratch.path + "/owned"
        try Files.makeDirectory(source, mode: 0o777)
        try Files.write(source + "/a", "")
        #expect(chown(source + "/a", 1, 2) == 0)
        func copy(_ owners: OwnerMap?) throws -> SourceCopy {
            try KernelMounts().copy(
                .init(source: source, mounted: "/unused", readOnly: false, recursive: true, owners: owners),
                in: nil)
        }
        let ranges = { (shown: UInt32) in [OwnerMap.Range(first: 0, shown: shown, count: 1000)] }
        let mapped = try copy(OwnerMap(users: ranges(100_000), groups: ranges(200_000), isRecursive: false))
        let tree = "/proc/self/fd/\(mapped.tree.raw)"
        let facts = try FoundFile(tree + "/a").facts
        #expect(facts.st_uid == 100_001 && facts.st_gid == 200_002)
        // A file that the user namespace's root makes there belongs to root on the host.
        #expect(chown(tree + "/a", 100_000, 200_000) == 0)
        let made = try FoundFile(source + "/a").facts
        #expect(made.st_uid == 0 && made.st_gid == 0)
        let overlap = [OwnerMap.Range(first: 0, shown: 1, count: 10), .init(first: 5, shown: 100, count: 10)]
        let error = #expect(throws: SystemError.self) {
            _ = try copy(OwnerMap(users: overlap, groups: overlap, isRecursive: false))
        }
        #expect(error?.description == "map owners by user namespace: invalid argument")
    }

    @Test("of a source that is exchanged between the two looks at it, the manager's is taken")
    func exchanged() throws {
        let (source, other) = (scratch.path + "/a", scratch.path + "/b")
        try Files.makeDirectory(source)
        try Files.makeDirectory(other)
        func inode(_ path: String) throws -> ino_t { try FoundFile(path).facts.st_ino }
        let (first, second) = (try inode(source), try inode(other))
        let view = try self.view([], ours: try MountTable.read(), except: [])
        let copy = try SourceCopy(share(source), in: view) { (namespace) throws(SystemError) in
            // The manager's comes first, then this process's own.
            if namespace == nil {
                rename(source, source + "+")
                rename(other, source)
            }
            return try Mounts.copy(source, in: namespace)
        }
        let (facts, isSeenHere) = (try copy.tree.facts(source), copy.isSeenHere)
        #expect(facts.st_ino == first && !isSeenHere)
        #expect(try inode(source) == second)
    }

    @Test("what is mounted below a source stays there when its share ends, and later mounts reach the share")
    func ends() throws {
        let place = scratch.path
        try inOwnMounts {
            try Mounts.mount("none", at: "/", flags: UInt(MS_REC) | UInt(MS_SHARED))
            for name in ["source", "share"] { try Files.makeDirectory(place + "/" + name) }
            func mount(_ name: String) throws {
                try Files.makeDirectory("\(place)/source/\(name)")
                try Mounts.mount("none", at: "\(place)/source/\(name)", type: "tmpfs")
            }
            func isMounted(_ path: String) throws -> Bool {
                try MountTable.read(of: "thread-self").contains { $0.mountPoint == place + "/" + path }
            }
            try Mounts.mount("none", at: place + "/source", type: "tmpfs")
            defer { Mounts.detach(place + "/source") }
            try mount("before")
            let copy = try KernelMounts().copy(
                GuestSpec.HostPathShare(source: place + "/source", mounted: "", readOnly: false, recursive: true),
                in: nil)
            try KernelMounts().attach(copy, at: place + "/share")
            try mount("after")
            #expect(try isMounted("share/before") && isMounted("share/after"))
            Mounts.detach(place + "/share")
            #expect(try isMounted("source/before") && isMounted("source/after"))
        }
    }
}

/// Copies as the kernel does, and notes where the copies would be attached.
private final class CopiedMounts: ShareMounts {
    private let attached = Mutex<[String]>([])
    var targets: [String] { attached.withLock { $0 } }

    func export(_ mounts: String, at exported: String) throws {}
    func copy(_ share: GuestSpec.HostPathShare, in view: ManagerView?) throws(SystemError) -> SourceCopy {
        try KernelMounts().copy(share, in: view)
    }
    func attach(_ copy: borrowing SourceCopy, at target: String) throws { attached.withLock { $0.append(target) } }
    func setWritable(_ isWritable: Bool, _ mounted: [String], name: String, servers: [Int32]) throws(SystemError) {}
    func contains(_ share: String, _ rest: String, _ identity: SourceCopy.Identity) -> Bool { false }
    func overlay(_ options: MountOptions, at target: String) throws {}
}
