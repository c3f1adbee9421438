import CLinux
import EventLoop
import Glibc
import LinuxKernel
import Streams
import Synchronization

import protocol NIOCore.EventLoop
import struct NIOCore.EventLoopPromise

/// A running QEMU.
package final class QEMUVirtualMachine: Sendable {
    package let pid: Int32
    private let process: ChildProcess
    let configuration: VMConfiguration
    let loop: any EventLoop
    /// The monitor, once QEMU answers.
    private let qmp: Mutex<Task<QMPClient, any Error>?>
    let slots: Mutex<DeviceSlots>
    let growth = Mutex(Growth())
    let disks = Mutex(DiskTable())

    private struct Facts: Sendable {
        /// Who waits for the guest to let a device go.
        var removals: [String: EventLoopPromise<Void>] = [:]
        /// Who waits for the machine's state to be written or read.
        var migration: EventLoopPromise<Void>?
        /// The machine's state is written: it may stand still.
        var isBeingSaved = false
    }
    private let facts = Mutex(Facts())
    private let exit = OneShot<ProcessExit>()
    private let logs: BoundedLogs

    private init(
        _ process: ChildProcess, _ configuration: VMConfiguration, _ logs: BoundedLogs, _ loop: any EventLoop
    ) {
        self.process = process
        self.logs = logs
        self.configuration = configuration
        self.loop = loop
        pid = process.pid
        qmp = Mutex(nil)
        slots = Mutex(DeviceSlots(ports: configuration.rootPorts))
    }

    /// Starts QEMU; the machine runs when this returns, the guest's kernel begins to.
    /// - Parameters:
    ///   - qmpSocket: where the monitor listens, for this process and for operators.
    ///   - memory: a file with a saved machine's memory, which this one takes over (`Memory.saved`).
    package static func start(
        _ configuration: VMConfiguration, qmpSocket: String, logs: BoundedLogs, memory: Int32? = nil,
        on loop: any EventLoop,
        admit: @escaping (ProcessIdentity) throws(SystemError) -> Void
    ) async throws -> QEMUVirtualMachine {
        guard access(configuration.executable, X_OK) == 0 else {
            throw SystemError("run the hypervisor (hypervisor.qemu.path)", configuration.executable, errno: errno)
        }
        let listener = try UnixSocket.listen(qmpSocket)
        // Ours waits in the listener's queue before QEMU runs: nothing has to be polled for.
        let monitor = try UnixSocket.connect(qmpSocket)
        let console = try logs.open(configuration.consoleFile)
        let log = try logs.open(configuration.consoleFile + ".qemu", limit: 64 << 10)
        var command = Command(configuration.executable, QEMUArguments.build(configuration), environment: [])
        // Kept until QEMU has its own.
        var devices: [Int32: SharedDescriptor] = [:]
        if case .file(let path) = configuration.memory {
            devices[QEMUArguments.memoryDescriptor] = SharedDescriptor(try .open(path, O_RDWR | O_CREAT))
        }
        for (number, socket) in [
            (QEMUArguments.vsockDescriptor, configuration.vsockSocket),
            (QEMUArguments.shareDescriptor, configuration.shareSocket),
        ] {
            if let socket { devices[number] = SharedDescriptor(try UnixSocket.connect(socket)) }
        }
        command.descriptors = devices.mapValues(\.raw)
        command.descriptors[1] = log.raw
        command.descriptors[2] = log.raw
        command.descriptors[QEMUArguments.qmpDescriptor] = listener.raw
        command.descriptors[QEMUArguments.consoleDescriptor] = console.raw
        if let memory { command.descriptors[QEMUArguments.memoryDescriptor] = memory }
        for (number, file) in configuration.bootFiles {
            guard let open = file.file else { throw SystemError("boot from (it is not open)", file.path, errno: EBADF) }
            command.descriptors[number] = open.raw
        }
        confine(&command, configuration)
        let process = try withExtendedLifetime((devices, configuration)) { try ChildProcess(command, admit: admit) }
        try Files.replace(configuration.pidFile, "\(process.pid)\n")
        let machine = QEMUVirtualMachine(process, configuration, logs, loop)
        try machine.process.whenEnded("qemu") { end in
            machine.giveUpWaiting()
            // Why it ended is read there.
            logs.settle(
                [configuration.consoleFile, configuration.consoleFile + ".qemu"], within: Deadline.finalOutput.limit)
            machine.exit.complete(end)
        }
        let socket = monitor.take()
        machine.qmp.withLock {
            $0 = Task(executorPreference: LoopExecutor(loop)) {
                try await QMPClient.connect(socket: socket, on: loop) { event in machine.happened(event) }
            }
        }
        return machine
    }

    /// What a guest that has taken QEMU over can reach: no file, process or network of the host.
    private static func confine(_ command: inout Command, _ configuration: VMConfiguration) {
        command.newSession = true
        command.diesWithParent = true
        command.withoutPrivileges = true
        command.user = configuration.user
        command.root = configuration.privateRoot
        let namespaces =
            [clx_new_pid, clx_new_ipc, clx_new_uts] + (configuration.networkNamespace == nil ? [clx_new_net] : [])
        command.newNamespaces = namespaces.reduce(0) { $0 | UInt64($1.rawValue) }
        command.networkNamespace = configuration.networkNamespace
    }

    private func happened(_ event: QMPClient.Event) {
        switch (event.name, event.device) {
        // A stop that nobody asked for is QEMU's internal error: the guest never runs again.
        case ("STOP", _) where facts.withLock { $0.isBeingSaved }: break
        case ("STOP", _), ("GUEST_PANICKED", _): process.signal(SIGKILL)
        case ("MIGRATION", _):
            guard let status = event.status, ["completed", "failed", "cancelled"].contains(status) else { return }
            let waiter = facts.withLock { facts in
                defer { facts.migration = nil }
                return facts.migration
            }
            if status == "completed" { waiter?.succeed() } else { waiter?.fail(QMPError("its state: \(status)")) }
        case ("DEVICE_DELETED", let device?): facts.withLock { $0.removals.removeValue(forKey: device) }?.succeed()
        default: break
        }
    }

    /// QEMU has ended: what somebody waits for doesn't come any more.
    private func giveUpWaiting() {
        let (removals, migration) = facts.withLock { facts in
            defer { (facts.removals, facts.migration) = ([:], nil) }
            return (facts.removals, facts.migration)
        }
        for (device, promise) in removals { promise.fail(QMPError("device_del \(device): the machine has ended")) }
        migration?.fail(QMPError("its state: the machine has ended"))
    }

    /// Writes or reads the machine's state through a descriptor, as `command` says, and waits for the end (qapi/migration.json).
    func migrate(_ command: String, through file: borrowing FileDescriptor, within limit: Duration) async throws {
        let monitor = try await monitor()
        // Shared memory is not written: it is in its file already.
        let capabilities = ["x-ignore-shared", "events"].map { #"{"capability":"\#($0)","state":true}"# }
        try await monitor.execute(
            "migrate-set-capabilities", #"{"capabilities":[\#(capabilities.joined(separator: ","))]}"#)
        try await monitor.execute("getfd", #"{"fdname":"state"}"#, descriptor: file.raw)
        let done = loop.makePromise(of: Void.self)
        facts.withLock { facts in
            facts.migration = done
            facts.isBeingSaved = command == "migrate"
        }
        let timer = loop.scheduleTask(in: .init(limit)) { done.fail(QMPError("\(command): not done within \(limit)")) }
        defer { timer.cancel() }
        do { try await monitor.execute(command, #"{"uri":"fd:state"}"#) } catch { done.fail(error) }
        try await done.futureResult.get()
    }

    /// QEMU's monitor.
    func monitor() async throws -> QMPClient {
        guard let task = qmp.withLock({ $0 }) else { throw QMPError("the machine has no monitor") }
        return try await task.value
    }

    /// Takes a device out of the machine; returns when the guest has let it go.
    func remove(device: String, timeout: Duration) async throws {
        let gone = loop.makePromise(of: Void.self)
        facts.withLock { $0.removals[device] = gone }
        let timer = loop.scheduleTask(in: .init(timeout)) { [self] in
            _ = facts.withLock { $0.removals.removeValue(forKey: device) }
            gone.fail(QMPError("device_del \(device): the guest did not let it go within \(timeout)"))
        }
        defer { timer.cancel() }
        do { try await monitor().execute("device_del", #"{"id":"\#(device)"}"#) } catch {
            if let promise = facts.withLock({ $0.removals.removeValue(forKey: device) }) { promise.fail(error) }
        }
        try await gone.futureResult.get()
    }

    package var end: ProcessExit? { exit.value }
    package func waitForExit() async -> ProcessExit { await exit.wait() }

    /// Somebody has stopped QEMU with a signal: nothing in the guest moves.
    package var isHalted: Bool { end == nil && ProcessIdentity(pid)?.life == .stopped }

    /// Ends the machine at once.
    package func kill() { process.signal(SIGKILL) }

    /// Ends the machine: a guest that was told to power off gets `timeout` for it.
    package func stop(timeout: Duration) async {
        let timer = loop.scheduleTask(in: .init(timeout)) { [process] in process.signal(SIGKILL) }
        let over = loop.makePromise(of: Void.self)
        // The kernel may not be able to end a process: one that waits for a file system that is gone.
        let last = loop.scheduleTask(in: .init(timeout + Deadline.machineEnd.limit)) { over.succeed() }
        Task(executorPreference: LoopExecutor(loop)) {
            _ = await self.waitForExit()
            over.succeed()
        }
        try? await over.futureResult.get()
        timer.cancel()
        last.cancel()
        try? await monitor().close()
    }

    /// The console's last lines, without control characters; the guest writes them, so they are bounded.
    ///
    /// After a panic: the lines up to the one that says so, not the registers behind it.
    package func consoleTail(lines: Int) -> [String] {
        let tail = logs.tail(configuration.consoleFile, lines: 400)
        let end = tail.lastIndex { $0.contains("Kernel panic") }.map { $0 + 1 } ?? tail.count
        return Array(tail[..<end].suffix(lines))
    }

    /// What QEMU itself said, such as an option that it refused.
    package func complaints() -> [String] {
        logs.tail(configuration.consoleFile + ".qemu", lines: 5).map { line in
            // It knows the files by their descriptors alone.
            configuration.bootFiles.reduce(line) { line, file in
                line.split(separator: QEMUArguments.path(file.key), omittingEmptySubsequences: false)
                    .joined(separator: file.value.path)
            }
        }
    }
}
