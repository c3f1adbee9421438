import Glibc
import LinuxKernel
import Streams

/// A shell of the guest itself, for clients that the host lets connect. Each stream has a terminal and a shell.
enum DebugConsole {
    private static let shells = ["/bin/bash", "/usr/bin/bash", "/bin/sh", "/usr/bin/sh"]

    /// Serves the console on a vsock port from now on.
    static func serve(port: UInt32, relay: StreamRelay, reaper: Reaper) throws(SystemError) {
        try Listener(vsockPort: port).forEachConnection(thread: "console") { socket in
            do { try open(socket, relay, reaper) } catch {
                try? socket.writeAll(Array("kata-agent: \(error)\r\n".utf8), to: "the debug console")
            }
        }
    }

    /// Starts a shell on a new terminal and connects both to the stream.
    private static func open(_ socket: borrowing FileDescriptor, _ relay: StreamRelay, _ reaper: Reaper)
        throws(SystemError)
    {
        // SAFETY: access(2) only reads the path.
        guard let shell = shells.first(where: { unsafe access($0, X_OK) == 0 }) else {
            throw SystemError(
                "open the debug console: the image has no shell (kata-osbuilder --debug-shell adds one)",
                shells[2], errno: ENOENT)
        }
        let terminal = try PseudoTerminal()
        // A session's leader gets the first terminal that it opens as its controlling one (tty(4)): keys like Ctrl-C
        // need that.
        var command = Command(shell, ["-c", "exec \"$0\" -i <>\(try terminal.path) >&0 2>&0", shell])
        command.newSession = true
        // The shell holds the terminal before it opens it by name: a terminal that no process has open hangs up.
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
        let running = RunningShell(process: process, keys: keys, hasEnded: try WakeUp())
        reaper.watch(process.pid) { _ in running.hasEnded.signal() }
        relay.connect(from: input, to: typed).whenEnded { detachThread("hang-up") { running.hangUp() } }
        relay.connect(from: terminal.keepingMaster(), to: output)
    }
}

/// A shell and its terminal.
private final class RunningShell: Sendable {
    let process: ChildProcess
    let keys: FileDescriptor
    let hasEnded: WakeUp

    private static let endOfInput: [UInt8] = [4]
    private static let keyPause = Duration.milliseconds(200)

    init(process: ChildProcess, keys: consuming FileDescriptor, hasEnded: consuming WakeUp) {
        self.process = process
        self.keys = keys
        self.hasEnded = hasEnded
    }

    /// After the client has disconnected, presses Ctrl-D until the shell exits; sends SIGHUP after a minute.
    ///
    /// The key is repeated: a terminal has no event for "the shell reads again", and a shell that runs a program
    /// doesn't see the key.
    func hangUp() {
        let deadline = ContinuousClock.now + Deadline.debugShell.limit
        repeat {
            try? keys.writeAll(Self.endOfInput, to: "the debug console's terminal")
            if isReady(hasEnded.descriptor, within: Self.keyPause) { return }
        } while .now < deadline
        process.signal(SIGHUP)
    }
}
