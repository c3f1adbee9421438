import EventLoop
import Glibc
import Linux
import Synchronization

import protocol NIOCore.EventLoop

/// A running QEMU.
package final class QEMUVirtualMachine: Sendable {
    package let pid: Int32
    private let process: ChildProcess
    private let configuration: VMConfiguration
    private let loop: any EventLoop
    private let qmp: Mutex<QMPClient?>

    private struct Facts: Sendable {
        var end: ProcessEnd?
        var waiters: [CheckedContinuation<ProcessEnd, Never>] = []
    }
    private let facts = Mutex(Facts())

    private init(_ process: ChildProcess, _ configuration: VMConfiguration, _ loop: any EventLoop) {
        self.process = process
        self.configuration = configuration
        self.loop = loop
        pid = process.pid
        qmp = Mutex(nil)
    }

    /// Starts QEMU; the machine runs when this returns, the guest's kernel begins to.
    /// - Parameter qmpSocket: where the monitor listens, for this process and for operators.
    package static func start(_ configuration: VMConfiguration, qmpSocket: String, on loop: any EventLoop) async throws
        -> QEMUVirtualMachine
    {
        guard access(configuration.executable, X_OK) == 0 else {
            throw SystemError("run the hypervisor (hypervisor.qemu.path)", configuration.executable, errno: errno)
        }
        let listener = try UnixSocket.listen(qmpSocket)
        // Ours waits in the listener's queue before QEMU runs: nothing has to be polled for.
        let monitor = try UnixSocket.connect(qmpSocket)
        let log = try FileDescriptor.open(configuration.consoleFile + ".qemu", O_WRONLY | O_CREAT | O_TRUNC | O_APPEND)
        var command = Command(configuration.executable, QEMUArguments.build(configuration))
        command.descriptors = [1: log.raw, 2: log.raw, QEMUArguments.qmpDescriptor: listener.raw]
        command.newSession = true
        let machine = QEMUVirtualMachine(try ChildProcess(command), configuration, loop)
        detachThread("qemu") { machine.ended(machine.process.wait()) }
        let socket = monitor.take()
        Task(executorPreference: LoopExecutor(loop)) {
            let client = try? await QMPClient.connect(socket: socket, on: loop) { event in machine.happened(event) }
            machine.qmp.withLock { $0 = client }
        }
        return machine
    }

    private func happened(_ event: String) {
        // A stop that nobody asked for is QEMU's internal error: the guest never runs again.
        if event == "STOP" || event == "GUEST_PANICKED" { process.signal(SIGKILL) }
    }

    private func ended(_ end: ProcessEnd) {
        let waiters = facts.withLock { facts in
            facts.end = end
            defer { facts.waiters = [] }
            return facts.waiters
        }
        for waiter in waiters { waiter.resume(returning: end) }
    }

    package var end: ProcessEnd? { facts.withLock { $0.end } }

    package func waitForExit() async -> ProcessEnd {
        await withCheckedContinuation { continuation in
            let end = facts.withLock { facts in
                if facts.end == nil { facts.waiters.append(continuation) }
                return facts.end
            }
            if let end { continuation.resume(returning: end) }
        }
    }

    /// Ends the machine: a guest that was told to power off gets `timeout` for it.
    package func stop(timeout: Duration) async {
        let timer = loop.scheduleTask(in: .init(timeout)) { [process] in process.signal(SIGKILL) }
        _ = await waitForExit()
        timer.cancel()
        qmp.withLock { $0?.close() }
    }

    /// The console's last lines, without control characters; the guest writes them, so they are bounded.
    ///
    /// After a panic: the lines up to the one that says so, not the registers behind it.
    package func consoleTail(lines: Int) -> [String] {
        let tail = Self.tail(configuration.consoleFile, 400)
        let end = tail.lastIndex { $0.contains("Kernel panic") }.map { $0 + 1 } ?? tail.count
        return Array(tail[..<end].suffix(lines))
    }

    /// What QEMU itself said, such as an option that it refused.
    package func complaints() -> [String] { Self.tail(configuration.consoleFile + ".qemu", 5) }

    private static func tail(_ path: String, _ count: Int) -> [String] {
        guard let file = try? FileDescriptor.open(path, O_RDONLY) else { return [] }
        let size = lseek(file.raw, 0, SEEK_END)
        lseek(file.raw, max(0, size - 16384), SEEK_SET)
        var bytes = [UInt8](repeating: 0, count: 16384)
        let got = read(file.raw, &bytes, bytes.count)
        let text = String(
            decoding: bytes.prefix(max(0, got)).map { $0 == 10 || (0x20..<0x7f).contains($0) ? $0 : 0x20 },
            as: UTF8.self)
        return text.split(separator: "\n").map { $0.prefix(200).trimmingSuffix() }.filter { !$0.isEmpty }.suffix(count)
            .map { $0 }
    }
}

extension Substring {
    fileprivate func trimmingSuffix() -> String {
        var text = self
        while text.last == " " { text.removeLast() }
        return String(text)
    }
}
