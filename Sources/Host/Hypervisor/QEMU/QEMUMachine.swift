import EventLoop
import Glibc
import Hypervisor
import LinuxKernel
import Streams
import Synchronization

import protocol NIOCore.EventLoop

/// A running QEMU.
package final class QEMUMachine: VirtualMachine {
    package let pid: Int32
    let qemu: QEMU
    let configuration: VMConfiguration
    let loop: any EventLoop
    private let process: ChildProcess
    private let logs: BoundedLogs
    private let exited = OneShot<ProcessExit>()
    /// The monitor; nil until QEMU answers.
    private let qmp: Mutex<Task<Monitor, any Error>?>
    let events = MachineEvents()
    private let slots: Mutex<DeviceSlots>
    let growth = Mutex(Growth())
    let disks = Mutex(DiskTable())

    package var name: String { qemu.name }
    package var capabilities: Capabilities { qemu.capabilities }

    private init(
        _ process: ChildProcess, _ qemu: QEMU, _ configuration: VMConfiguration, _ logs: BoundedLogs,
        _ loop: any EventLoop
    ) {
        (self.process, self.qemu, self.configuration) = (process, qemu, configuration)
        (self.logs, self.loop) = (logs, loop)
        pid = process.pid
        qmp = Mutex(nil)
        slots = Mutex(DeviceSlots(ports: configuration.hotPlugPorts))
    }

    // MARK: Start

    /// - Parameters: as for `Hypervisor.start`.
    static func start(
        _ qemu: QEMU, _ configuration: VMConfiguration, logs: BoundedLogs, memory: Int32?, on loop: any EventLoop,
        admit: @escaping (ProcessIdentity) throws(SystemError) -> Void
    ) throws -> QEMUMachine {
        // SAFETY: access(2) only reads the path.
        guard unsafe access(qemu.executable, X_OK) == 0 else {
            throw SystemError("run the hypervisor (hypervisor.qemu.path)", qemu.executable, errno: errno)
        }
        let listener = try UnixSocket.listen(configuration.monitorSocket)
        // Connects before QEMU runs: the connection waits in the listener's queue, so nothing polls.
        let monitor = try UnixSocket.connect(configuration.monitorSocket)
        let console = try logs.open(configuration.consoleFile)
        let log = try logs.open(configuration.stderrFile, limit: stderrLimit)
        let devices = try deviceDescriptors(configuration)
        var command = Command(qemu.executable, QEMUArguments.build(qemu, configuration), environment: [])
        command.descriptors = devices.mapValues(\.raw)
        command.descriptors[1] = log.raw
        command.descriptors[2] = log.raw
        command.descriptors[QEMUDescriptor.monitor] = listener.raw
        command.descriptors[QEMUDescriptor.console] = console.raw
        if let memory { command.descriptors[QEMUDescriptor.memory] = memory }
        for (number, file) in configuration.bootDescriptors {
            guard let open = file.file else { throw SystemError("boot from (it is not open)", file.path, errno: EBADF) }
            command.descriptors[number] = open.raw
        }
        qemu.confine(&command, configuration)
        // The descriptors are ours until QEMU has its copies.
        let process = try withExtendedLifetime((devices, configuration)) { try ChildProcess(command, admit: admit) }
        try Files.replace(configuration.pidFile, "\(process.pid)\n")
        let machine = QEMUMachine(process, qemu, configuration, logs, loop)
        try machine.watch()
        machine.open(monitor.take())
        return machine
    }

    /// The maximum of QEMU's own output that is kept, in bytes.
    private static let stderrLimit = 64 << 10

    /// Connections to the vhost devices, and the file of a template's memory.
    private static func deviceDescriptors(_ configuration: VMConfiguration) throws -> [Int32: SharedDescriptor] {
        var devices: [Int32: SharedDescriptor] = [:]
        if case .file(let path) = configuration.memory {
            devices[QEMUDescriptor.memory] = SharedDescriptor(try .open(path, O_RDWR | O_CREAT))
        }
        if let socket = configuration.vsockSocket {
            devices[QEMUDescriptor.vsock] = SharedDescriptor(try UnixSocket.connect(socket))
        }
        if let guest = configuration.hostVsockCID {
            devices[QEMUDescriptor.vsock] = SharedDescriptor(try Vsock.device(for: guest))
        }
        if let socket = configuration.shareSocket {
            devices[QEMUDescriptor.share] = SharedDescriptor(try UnixSocket.connect(socket))
        }
        return devices
    }

    private func watch() throws {
        try process.whenEnded("qemu") { [self] end in
            events.end()
            // These logs hold the reason of the end.
            logs.settle([configuration.consoleFile, configuration.stderrFile], within: Deadline.finalOutput.limit)
            exited.complete(end)
        }
    }

    private func open(_ socket: Int32) {
        qmp.withLock {
            $0 = Task(executorPreference: LoopExecutor(loop)) { [self] in
                try await Monitor.connect(socket: socket, on: loop) { [self] event in
                    if events.isFatal(event) { return process.signal(SIGKILL) }
                    countProcessor(event)
                    events.happened(event)
                }
            }
        }
    }

    func monitor() async throws -> Monitor {
        guard let task = qmp.withLock({ $0 }) else { throw VMError("the machine has no monitor") }
        return try await task.value
    }

    // MARK: Ports

    package func unavailableReason(for device: Capabilities.Device) -> String? {
        guard device == .network, !slots.withLock({ $0.hasFree }) else { return nil }
        return "the machine has no free PCIe root port for it; raise hypervisor.qemu.pcie_root_port"
    }

    func takePort(_ device: String) throws(VMError) -> String {
        try slots.withLock { (slots) throws(VMError) in try slots.take(device) }
    }

    func releasePort(_ device: String) { slots.withLock { $0.release(device) } }

    /// Takes a device out of the machine; returns when the guest has released it.
    func remove(device: String, timeout: Duration) async throws {
        let gone = loop.makePromise(of: Void.self)
        events.waitForRemoval(device, gone)
        let timer = loop.scheduleTask(in: .init(timeout)) { [events] in
            events.takeRemoval(device)
            gone.fail(VMError("device_del \(device): the guest did not release it within \(timeout)"))
        }
        defer { timer.cancel() }
        do { try await monitor().execute(QMP.DeviceDelete(id: device)) } catch {
            events.takeRemoval(device)?.fail(error)
        }
        try await gone.futureResult.get()
    }

    // MARK: End

    package var exit: ProcessExit? { exited.value }
    package func waitForExit() async -> ProcessExit { await exited.wait() }
    package var isHalted: Bool { exit == nil && ProcessIdentity(pid)?.life == .stopped }
    package func kill() { process.signal(SIGKILL) }

    package func stop(timeout: Duration) async {
        let timer = loop.scheduleTask(in: .init(timeout)) { [process] in process.signal(SIGKILL) }
        let over = loop.makePromise(of: Void.self)
        // The kernel may be unable to end a process, for example one that waits for a lost file system.
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

    package func removeFiles() {
        // SAFETY: unlink(2) only reads the path.
        for path in [
            configuration.consoleFile, configuration.stderrFile, configuration.monitorSocket, configuration.pidFile,
        ] { unsafe unlink(path) }
        Files.removeTree(configuration.rootDirectory)
    }

    // MARK: Output

    /// The console's tail. After a panic: the lines up to the panic's message, without the registers after it.
    package func consoleTail(lines: Int) -> [String] {
        let tail = logs.tail(configuration.consoleFile, lines: Self.consoleLines)
        let end = tail.lastIndex { $0.contains("Kernel panic") }.map { $0 + 1 } ?? tail.count
        return Array(tail[..<end].suffix(lines))
    }

    /// The number of last lines to search for a panic.
    private static let consoleLines = 400

    /// Replaces descriptors by paths in QEMU's messages: QEMU knows the boot's files only by descriptor.
    package func stderrTail() -> [String] {
        logs.tail(configuration.stderrFile, lines: 5).map { line in
            configuration.bootDescriptors.reduce(line) { line, file in
                line.split(separator: QEMUDescriptor.path(file.key), omittingEmptySubsequences: false)
                    .joined(separator: file.value.path)
            }
        }
    }
}
