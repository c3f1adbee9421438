import CLinux
import Glibc
import LinuxKernel
import Streams
import Synchronization

/// A shell of the guest itself for whoever the host lets connect: each stream has its own terminal.
enum DebugConsole {
    private static let shells = ["/bin/bash", "/usr/bin/bash", "/bin/sh", "/usr/bin/sh"]

    static func serve(port: UInt32, relay: StreamRelay, reaper: Reaper) throws(SystemError) {
        let listener = try checkNegativeErrno("listen on", "vsock port \(port)", clx_listen_vsock(port))
        detachThread("console") {
            while true {
                var cid: UInt32 = 0
                let accepted = clx_accept_vsock(listener, &cid)
                if accepted == -EINTR || accepted == -ECONNABORTED { continue }
                guard accepted >= 0 else { return }
                let socket = FileDescriptor(owning: accepted)
                do { try open(socket, relay, reaper) } catch {
                    let line = "kata-agent: \(error)\r\n"
                    _ = write(socket.raw, line, line.utf8.count)
                }
            }
        }
    }

    /// A shell and its terminal.
    private final class Shell: Sendable {
        let process: ChildProcess
        let keys: FileDescriptor
        let hasEnded = Atomic(false)

        init(process: ChildProcess, keys: consuming FileDescriptor) {
            self.process = process
            self.keys = keys
        }

        /// Who is there no more presses Ctrl-D until the shell has done what it was told and ends: a shell that hasn't asked yet doesn't
        /// see it. After a minute it is ended.
        func hangUp() {
            for _ in 0..<300 where !hasEnded.load(ordering: .relaxed) {
                _ = write(keys.raw, "\u{4}", 1)
                usleep(200_000)
            }
            process.signal(SIGHUP)
        }
    }

    /// Starts a shell on a new terminal, and joins it with the stream once it runs.
    private static func open(_ socket: borrowing FileDescriptor, _ relay: StreamRelay, _ reaper: Reaper)
        throws(SystemError)
    {
        guard let shell = shells.first(where: { access($0, X_OK) == 0 }) else {
            throw SystemError(
                "open the debug console: the image has no shell (kata-osbuilder --debug-shell adds one)",
                shells[2], errno: ENOENT)
        }
        let terminal = try PseudoTerminal()
        // The leader of a session without a terminal gets the first one that it opens (tty(4)): that is what keys like Ctrl-C need.
        var command = Command(shell, ["-c", "exec \"$0\" -i <>\(try terminal.path) >&0 2>&0", shell])
        command.newSession = true
        // It has the terminal before it opens it by name: a terminal that nobody has open is at its end.
        command.descriptors = [0: terminal.slave.raw]
        command.directory = "/"
        command.set("TERM", "xterm")
        command.set("HOME", "/root")
        command.set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        let input = try socket.duplicate()
        let output = try socket.duplicate()
        let keys = try terminal.master.duplicate()
        let typed = try terminal.master.duplicate()
        let process = try ChildProcess(command)
        let running = Shell(process: process, keys: keys)
        reaper.watch(process.pid) { _ in running.hasEnded.store(true, ordering: .relaxed) }
        relay.connect(from: input, to: typed).whenEnded { detachThread("hang-up") { running.hangUp() } }
        relay.connect(from: terminal.keepingMaster(), to: output)
    }
}
