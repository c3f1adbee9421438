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
        #expect(try child.output.isReadable("the mount", by: .now + .seconds(20)))
        let other = try KernelMounts().copy(share(source), seenBy: child.process.pid)
        let (facts, identity) = (try other.tree.facts(source), other.identity)
        #expect(identity == nil && UInt64(facts.st_dev) != own?.device)
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
}
