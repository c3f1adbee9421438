import CLinux
import EventLoop
import Glibc
import LinuxKernel
import Streams
import Synchronization

import protocol NIOCore.EventLoop

/// Vsock ports of the host for a process's standard streams; 0 for none.
struct StreamPorts: Sendable {
    var stdin: UInt32 = 0
    var stdout: UInt32 = 0
    var stderr: UInt32 = 0
    /// Whether a terminal sends newlines without a carriage return: the host's end of stdout is no terminal.
    var plainNewlines = false
}

/// The agent's ends of a process's standard streams: connected to ports of the host, or kept for clients that read and
/// write by calls.
final class ProcessStreams: Sendable {
    enum Standard: Sendable { case input, output, error }

    /// An end is nil if there is none, or if the relay owns it.
    struct Ends: ~Copyable, Sendable {
        /// The terminal's master, which serves all three streams.
        var terminal: FileDescriptor?
        var stdin: FileDescriptor?
        var stdout: FileDescriptor?
        var stderr: FileDescriptor?

        func number(of stream: Standard) -> Int32? {
            if let terminal = terminal.raw { return terminal }
            return switch stream {
            case .input: stdin.raw
            case .output: stdout.raw
            case .error: stderr.raw
            }
        }

        mutating func take(_ stream: Standard) -> FileDescriptor? {
            switch stream {
            case .input: stdin.take()
            case .output: stdout.take()
            case .error: stderr.take()
            }
        }
    }

    private struct Connections: Sendable {
        var input: StreamRelay.Handle?
        var outputs: [StreamRelay.Handle] = []
    }

    /// The longest answer of a read, in bytes.
    private static let maxRead = 1 << 20

    private let ends: Mutex<Ends>
    private let connections = Mutex(Connections())
    private let relay: StreamRelay
    /// nil without a terminal.
    private let held: HeldTerminal?

    /// Connects the streams that have a port.
    /// - Parameter dial: connects to a port of the host.
    /// - Throws: when a port of the host can't be reached, or the terminal can't be set up.
    init(
        _ ends: consuming Ends, _ ports: StreamPorts, relay: StreamRelay,
        dial: (UInt32) throws(SystemError) -> FileDescriptor = { port throws(SystemError) in
            try Vsock.connect(port: port)
        }
    ) throws(SystemError) {
        let isTerminal = ends.terminal.raw != nil
        if ports.plainNewlines, let master = ends.terminal.raw { try PseudoTerminal.sendPlainNewlines(master) }
        self.ends = Mutex(ends)
        self.relay = relay
        held = isTerminal ? HeldTerminal() : nil
        if ports.stdin != 0 {
            let socket = try dial(ports.stdin)
            let input = relay.connect(from: socket, to: try end(.input, isTerminal), terminal: held)
            connections.withLock { $0.input = input }
        }
        for (port, stream) in [(ports.stdout, Standard.output), (isTerminal ? 0 : ports.stderr, .error)] where port != 0
        {
            let socket = try dial(port)
            let output = relay.connect(from: try end(stream, isTerminal), to: socket, terminal: held)
            connections.withLock { $0.outputs.append(output) }
            if isTerminal { output.whenEnded { [weak self] in self?.hangUp() } }
        }
        // Output without a stdin port: the process reads end of file, as from /dev/null.
        if ports.stdin == 0, ports.stdout != 0 || ports.stderr != 0 { closeInput() }
    }

    /// The end for the relay: a copy of a terminal's descriptor, or the pipe's end itself.
    private func end(_ stream: Standard, _ isTerminal: Bool) throws(SystemError) -> FileDescriptor {
        if !isTerminal, let end = ends.withLock({ $0.take(stream) }) { return end }
        return try copy(of: stream)
    }

    private func copy(of stream: Standard) throws(SystemError) -> FileDescriptor {
        try ends.withLock { ends throws(SystemError) in
            guard let number = ends.number(of: stream) else {
                throw SystemError("use", "\(stream) of a process", errno: EBADF)
            }
            return try FileDescriptor.duplicate(of: number)
        }
    }

    func resize(rows: UInt16, columns: UInt16) throws(SystemError) {
        try ends.withLock { ends throws(SystemError) in
            guard let master = ends.terminal.raw else {
                throw SystemError("resize", "a process without terminal", errno: ENOTTY)
            }
            try checkNegativeErrno("resize", "terminal", clx_set_window_size(master, rows, columns))
        }
    }

    // MARK: Calls that read and write

    /// Blocks until all bytes are written.
    /// - Returns: their number.
    func write(_ bytes: [UInt8]) throws(SystemError) -> Int {
        let end = try copy(of: .input)
        try end.writeAll(bytes, to: "stdin")
        return bytes.count
    }

    /// Blocks until there is output.
    /// - Returns: at most `limit` bytes, and no more than 1 MiB; empty at the end.
    func read(_ stream: Standard, limit: Int) throws(SystemError) -> [UInt8] {
        let end = try copy(of: stream)
        while true {
            var code: Int32 = 0
            // SAFETY: read(2) writes at most `$0.count` bytes, and returns how many.
            let bytes = unsafe readBytes(upTo: min(max(limit, 1), Self.maxRead)) {
                let count = unsafe Glibc.read(end.raw, $0.baseAddress, $0.count)
                if count < 0 { code = errno }
                return count
            }.bytes
            guard held?.isOpenAgain(end.raw, after: code) ?? false else { return bytes }
        }
    }

    // MARK: End

    /// Ends the process's input: it still reads bytes that are on their way.
    func closeInput() {
        ends.withLock { $0.stdin = nil }
        endInput()
    }

    /// Stops the relay of input, and takes the next end of output for the last: the process has ended.
    func hasExited() {
        endInput()
        held?.end()
    }

    /// Closes the terminal after its last reader has gone. The program gets SIGHUP (pty(7)). With an open terminal that
    /// nobody reads, its next write would block.
    private func hangUp() {
        hasExited()
        ends.withLock { $0.terminal = nil }
    }

    /// Stops the relay of input.
    private func endInput() {
        if let input = connections.withLock({ $0.input }) { relay.end(input) }
    }

    /// Suspends until the output of a process that has ended is on its way to the host.
    ///
    /// Guest and host both wait, for different bytes. Here: bytes between the process's pipe and vsock. A child of the
    /// process may keep the pipe open, so the wait ends when nothing moves for `quietGuestOutput`. On the host: bytes
    /// between vsock and the manager's fifo, whose reader may be slow. Each side sees its own half only, and the host
    /// must not trust the guest's word.
    func drain(on loop: any EventLoop) async {
        ends.withLock { $0.terminal = nil }
        await drained(
            connections.withLock { $0.outputs }, quiet: Deadline.quietGuestOutput.limit,
            limit: Deadline.guestOutput.limit,
            on: loop)
    }

    /// Closes the ends that were kept for calls.
    func release() { ends.withLock { $0 = Ends() } }
}
