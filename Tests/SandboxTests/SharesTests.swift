import Glibc
import Linux
import TestSupport
import Testing

@testable import Sandbox

@Suite("sources of shares", .enabled(if: getuid() == 0, "needs root: it copies mounts"))
struct SharesTests {
    private let scratch = Scratch()

    private func share(_ source: String) -> GuestSpec.Share {
        GuestSpec.Share(source: source, mounted: "/unused", readOnly: true, recursive: true)
    }

    @Test("a source that the manager sees too has one identity; one that is another there has none")
    func identity() throws {
        let source = scratch.path
        let mine = try SourceCopy(share(source), seenBy: nil)
        let same = try SourceCopy(share(source), seenBy: getpid())
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
        let other = try SourceCopy(share(source), seenBy: child.process.pid)
        let (facts, identity) = (try other.tree.facts(source), other.identity)
        #expect(identity == nil && UInt64(facts.st_dev) != own?.device)
    }

    @Test(
        "the identity is that of the mounted copy, while the source is exchanged for another", .timeLimit(.minutes(1)))
    func exchanged() throws {
        let (source, other) = (scratch.path + "/a", scratch.path + "/b")
        try Files.makeDirectory(source)
        try Files.makeDirectory(other)
        var seen: Set<UInt64> = []
        var (known, unknown) = (0, 0)
        try exchanging(source, other) {
            for _ in 0..<2000 {
                guard let copy = try? SourceCopy(share(source), seenBy: getpid()) else { continue }
                let facts = try copy.tree.facts(source)
                guard let identity = copy.identity else {
                    unknown += 1
                    continue
                }
                known += 1
                seen.insert(identity.inode)
                #expect(identity.inode == UInt64(facts.st_ino))
            }
        }
        #expect(known > 0 && seen.count == 2, "\(known) known, \(unknown) unknown")
    }
}
