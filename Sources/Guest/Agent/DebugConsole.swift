import CLinux
import Glibc
import Linux
import Synchronization

/// A shell of the guest itself for whoever the host lets connect: each stream has its own terminal.
enum DebugConsole {
    private static let shells = ["/bin/bash", "/usr/bin/bash", "/bin/sh", "/usr/bin/sh"]

    static func serve(port: UInt32, relay: StreamRelay, reaper: Reaper) throws(SystemError) {
        let listener = try checkNegated("listen on", "vsock port \(port)", clx_listen_vsock(port))
        detachThread("console") {
            while true {
                var cid: UInt32 = 0
                let socket = clx_accept_vsock(listener, &cid)
                if socket == -EINTR || socket == -ECONNABORTED { continue }
                guard socket >= 0 else { return }
                do { try open(socket, relay, reaper) } catch {
                    let line = "kata-agent: \(error)\r\n"
                    _ = write(socket, line, line.utf8.count)
                    close(socket)
                }
            }
        }
    }

    /// A shell and its terminal.
    private final class Shell: Sendable {
        let process: ChildProcess
        let keys: Int32
        let hasEnded = Atomic(false)

        init(process: ChildProcess, keys: Int32) {
            self.process = process
            self.keys = keys
        }

        /// Who is there no more presses Ctrl-D until the shell has done what it was told and ends: a shell that hasn't asked yet doesn't
        /// see it. After a minute it is ended.
        func hangUp() {
            for _ in 0..<300 where !hasEnded.load(ordering: .relaxed) {
                _ = write(keys, "\u{4}", 1)
                usleep(200_000)
            }
            process.signal(SIGHUP)
            close(keys)
        }
    }

    private static func again(_ descriptor: Int32) -> Int32 { fcntl(descriptor, F_DUPFD_CLOEXEC, 3) }

    /// Starts a shell on a new terminal, and takes the stream once it runs.
    private static func open(_ socket: Int32, _ relay: StreamRelay, _ reaper: Reaper) throws(SystemError) {
        guard let shell = shells.first(where: { access($0, X_OK) == 0 }) else {
            throw SystemError(
                "open the debug console: the image has no shell (kata-osbuilder --debug-shell adds one)",
                shells[2], errno: ENOENT)
        }
        var (master, slave): (Int32, Int32) = (-1, -1)
        try checkNegated("open a terminal from", "/dev/ptmx", clx_open_terminal("/dev/ptmx", &master, &slave))
        defer { close(slave) }
        let terminal = "/dev/pts/\(clx_terminal_number(master))"
        // The leader of a session without a terminal gets the first one that it opens (tty(4)): that is what keys like Ctrl-C need.
        var command = Command(shell, ["-c", "exec \"$0\" -i <>\(terminal) >&0 2>&0", shell])
        command.newSession = true
        // It has the terminal before it opens it by name: a terminal that nobody has open is at its end.
        command.descriptors = [0: slave]
        command.directory = "/"
        command.set("TERM", "xterm")
        command.set("HOME", "/root")
        command.set("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        let process: ChildProcess
        do { process = try ChildProcess(command) } catch {
            close(master)
            throw error
        }
        let running = Shell(process: process, keys: again(master))
        reaper.watch(process.pid) { _ in running.hasEnded.store(true, ordering: .relaxed) }
        relay.connect(from: again(socket), to: again(master)).whenEnded { detachThread("hang-up") { running.hangUp() } }
        relay.connect(from: master, to: socket)
    }
}
