import Glibc
import LinuxKernel
import TestSupport
import Testing

@testable import Share

/// QEMU's virtiofsd, which confines itself by private mounts and namespaces.
private let daemon = "/usr/lib/qemu/virtiofsd"

@Suite("What the share's daemon serves")
struct VirtioFSTests {
    private func plan(_ extra: [String]) -> VirtioFS {
        VirtioFS(executable: daemon, cache: "always", extraArguments: extra)
    }

    @Test("source, sandbox and socket stand behind what others have asked for, the cache before")
    func order() {
        #expect(
            plan(["-o", "cache=none,source=/"]).arguments(directory: "/share", descriptor: 3) == [
                "-o", "cache=always", "-o",
                "xattr,posix_acl,xattrmap=\(VirtioFS.attributes)", "-o",
                "cache=none,source=/", "-o", "sandbox=namespace", "-o", "source=/share",
                "--fd=3",
            ])
    }

    @Test(
        "whatever is asked for beside it, the daemon's root is the share, or the daemon ends",
        .enabled(if: getuid() == 0, "needs root: virtiofsd mounts"),
        .enabled(if: Files.exists(daemon), "needs \(daemon)"), .timeLimit(.minutes(5)),
        arguments: [
            (["-o", "source=OTHER"], true), (["-osource=OTHER"], true), (["-o", "xattr,source=OTHER"], true),
            (["-o", "sandbox=chroot"], true), (["-osandbox=chroot,source=OTHER"], true), (["--fd=9"], true),
            (["--thread-pool-size=1", "-o", "timeout=1"], true),
            (["--socket-path=OTHER/socket"], false), (["-o", "source=OTHER", "--"], false),
            (["-o", "source=OTHER", "-o"], false), (["OTHER"], false),
        ])
    func hostile(extra: [String], isServed: Bool) throws {
        let scratch = Scratch()
        let (share, other) = (scratch.path + "/share", scratch.path + "/other")
        for directory in [share, other] {
            try Files.makeDirectory(directory)
            try Files.write(directory + "/of-" + (directory == share ? "the-share" : "another"), "")
        }
        let words = extra.map {
            $0.split(separator: "OTHER", omittingEmptySubsequences: false).joined(separator: other)
        }
        let log = try FileDescriptor.open(scratch.path + "/log", O_RDWR | O_CREAT)
        let running = try plan(words).start(
            exporting: share, socketPath: scratch.path + "/socket", log: log
        ) { _ in }
        defer { running.stop() }
        // The daemon confines itself after a client has connected; one that has ended refuses.
        let guest: SharedDescriptor
        do { guest = SharedDescriptor(try UnixSocket.connect(scratch.path + "/socket")) } catch {
            #expect(!isServed, "\(error)")
            return
        }
        #expect(try withExtendedLifetime(guest) { try servedRoot(running) } == (isServed ? ["of-the-share"] : nil))
    }

    /// The root of the daemon's confined child, once it differs from the host's; nil when the daemon has ended.
    private func servedRoot(_ running: any FileServer) throws -> [String]? {
        let deadline = ContinuousClock.now + .longWait
        let host = Files.list("/")
        while case let processes = running.processes, ProcessIdentity(processes[0])?.life == .running {
            if processes.count > 1 {
                let root = Files.list("/proc/\(processes[1])/root")
                if !root.isEmpty, root != host { return root }
            }
            try #require(ContinuousClock.now < deadline, "it neither serves nor ends")
            usleep(10_000)
        }
        return nil
    }
}
