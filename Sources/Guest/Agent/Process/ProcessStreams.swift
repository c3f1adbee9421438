import CLinux
import EventLoop
import Glibc
import LinuxKernel
import Streams
import Synchronization

import protocol NIOCore.EventLoop

/// vsock ports of the host for a process's standard streams, 0 for none.
struct StreamPorts: Sendable {
    var stdin: UInt32 = 0
    var stdout: UInt32 = 0
    var stderr: UInt32 = 0
}

/// The agent's ends of a process's standard streams: joined with ports of the host, or kept for clients that read and write by RPC.
final class ProcessStreams: Sendable {
    enum Standard: Sendable { case input, output, error }

    /// nil: there is none, or it is the relay's.
    struct Ends: ~Copyable, Sendable {
        /// The master, which is all three.
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

    private struct Joined: Sendable {
        var input: StreamRelay.Handle?
        var outputs: [StreamRelay.Handle] = []
    }

    private let ends: Mutex<Ends>
    private let joined = Mutex(Joined())
    private let relay: StreamRelay

    /// - Throws: when a port of the host can't be reached.
    init(_ ends: consuming Ends, _ ports: StreamPorts, relay: StreamRelay) throws(SystemError) {
        let isTerminal = ends.terminal.raw != nil
        self.ends = Mutex(ends)
        self.relay = relay
        if ports.stdin != 0 {
            let socket = try Vsock.connect(port: ports.stdin)
            let input = relay.connect(from: socket, to: try end(.input, isTerminal))
            joined.withLock { $0.input = input }
        }
        for (port, stream) in [(ports.stdout, Standard.output), (isTerminal ? 0 : ports.stderr, .error)] where port != 0
        {
            let socket = try Vsock.connect(port: port)
            let output = relay.connect(from: try end(stream, isTerminal), to: socket)
            joined.withLock { $0.outputs.append(output) }
        }
        // No stdin port among others: the process reads the end of file, as from /dev/null.
        if ports.stdin == 0, ports.stdout != 0 || ports.stderr != 0 { closeInput() }
    }

    /// For the relay to keep: of a terminal a copy, of a pipe the end itself.
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

    // MARK: By RPC

    /// Blocks until all is written.
    func write(_ bytes: [UInt8]) throws(SystemError) -> Int {
        let end = try copy(of: .input)
        try end.writeAll(bytes, to: "stdin")
        return bytes.count
    }

    /// Blocks until there is something; empty at the end.
    func read(_ stream: Standard, limit: Int) throws(SystemError) -> [UInt8] {
        let end = try copy(of: stream)
        return readBytes(upTo: min(max(limit, 1), 1 << 20)) { Glibc.read(end.raw, $0.baseAddress, $0.count) }.bytes
    }

    // MARK: The end

    /// The process reads no more than what is on its way.
    func closeInput() {
        ends.withLock { $0.stdin = nil }
        endInput()
    }

    /// The process is there no more.
    func endInput() {
        if let input = joined.withLock({ $0.input }) { relay.end(input) }
    }

    /// Once the process has ended: suspends until what it wrote is on its way to the host.
    func drain(on loop: any EventLoop) async {
        ends.withLock { $0.terminal = nil }
        await drained(
            joined.withLock { $0.outputs }, quiet: Deadline.quietGuestOutput.limit, limit: Deadline.guestOutput.limit,
            on: loop)
    }

    /// Closes what clients of RPC may still hold open.
    func release() { ends.withLock { $0 = Ends() } }
}
