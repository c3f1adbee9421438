import Glibc
import LinuxKernel
import TestSupport
import Testing

@testable import GuestSpec
@testable import Share

@Suite("sources of shares", .enabled(if: getuid() == 0, "needs root: it copies mounts"))
struct SharedPathsTests {
    private let scratch = Scratch()

    private func share(_ source: String) -> GuestSpec.HostPathShare {
        GuestSpec.HostPathShare(source: source, mounted: "/unused", readOnly: true, recursive: true)
    }

    @Test("a source that the manager sees too has one identity; one that is another there has none")
    func identity() throws {
        let source = scratch.path
        let mine = try KernelMounts().copy(share(source), seenBy: nil)
        let same = try KernelMounts().copy(share(source), seenBy: getpid())
        let (own, theirs) = (mine.identity, same.identity)
        #expect(own != nil && own == theirs)
        var command = Command("/bin/sh", ["-c", "mount -t tmpfs none \(source) && echo && exec sleep 60"])
        command.newNamespaces = 0x20000  // CLONE_NEWNS
        let child = try ChildWithOutput(command, output: [1])
        defer {
            child.process.signal(SIGKILL)
            _ = child.process.wait()
        }
        #expect(try child.output.isReadable("the mount", by: .now + .longWait))
        let other = try KernelMounts().copy(share(source), seenBy: child.process.pid)
        let (facts, identity) = (try other.tree.facts(source), other.identity)
        #expect(identity == nil && UInt64(facts.st_dev) != own?.device)
    }

    @Test("a share shows its files with changed owners, and is another one than the same source without")
    func owners() throws {
        let source = scratch.path + "/owned"
        try Files.makeDirectory(source, mode: 0o777)
        try Files.write(source + "/a", "")
        #expect(chown(source + "/a", 1, 2) == 0)
        func copy(_ owners: OwnerMap?) throws -> SourceCopy {
            try KernelMounts().copy(
                .init(source: source, mounted: "/unused", readOnly: false, recursive: true, owners: owners),
                seenBy: nil)
        }
        let ranges = { (shown: UInt32) in [OwnerMap.Range(first: 0, shown: shown, count: 1000)] }
        let mapped = try copy(OwnerMap(users: ranges(100_000), groups: ranges(200_000), isRecursive: false))
        let plain = try copy(nil)
        let (one, other) = (mapped.identity, plain.identity)
        #expect(one != nil && one != other)
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

    @Test("a source that is exchanged between the two looks at it is not kept under the first one's identity")
    func exchanged() throws {
        let (source, other) = (scratch.path + "/a", scratch.path + "/b")
        try Files.makeDirectory(source)
        try Files.makeDirectory(other)
        func inode(_ path: String) throws -> ino_t { try FoundFile(path).facts.st_ino }
        let (first, second) = (try inode(source), try inode(other))
        let copy = try SourceCopy(share(source), seenBy: getpid()) { (process) throws(SystemError) in
            // The manager's comes first, then this process's own.
            if process == nil {
                rename(source, source + "+")
                rename(other, source)
            }
            return try Mounts.copy(source, seenBy: process)
        }
        let (facts, identity) = (try copy.tree.facts(source), copy.identity)
        #expect(facts.st_ino == first && identity == nil)
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
                seenBy: nil)
            try KernelMounts().attach(copy, at: place + "/share")
            try mount("after")
            #expect(try isMounted("share/before") && isMounted("share/after"))
            Mounts.detach(place + "/share")
            #expect(try isMounted("source/before") && isMounted("source/after"))
        }
    }
}
