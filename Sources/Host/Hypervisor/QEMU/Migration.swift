import Hypervisor
import LinuxKernel
import Synchronization

/// Saving and loading a machine's state (qapi/migration.json).
extension QEMUMachine {
    package func saveState(to file: borrowing FileDescriptor, within limit: Duration) async throws {
        events.expectStop()
        try await migrate(QMP.Migrate(uri: "fd:state"), through: file, within: limit)
    }

    package func loadState(from file: borrowing FileDescriptor, within limit: Duration) async throws {
        try await migrate(QMP.MigrateIncoming(uri: "fd:state"), through: file, within: limit)
    }

    private func migrate<Command: QMP.Command>(
        _ command: Command, through file: borrowing FileDescriptor, within limit: Duration
    ) async throws {
        let monitor = try await monitor()
        // Shared memory is not written: its file has it already.
        try await monitor.execute(QMP.MigrateSetCapabilities("x-ignore-shared", "events"))
        try await monitor.execute(QMP.GetFD(fdname: "state"), descriptor: file.raw)
        let done = loop.makePromise(of: Void.self)
        events.waitForMigration(done)
        let timer = loop.scheduleTask(in: .init(limit)) {
            done.fail(VMError("\(Command.name): not done within \(limit)"))
        }
        defer { timer.cancel() }
        do { try await monitor.execute(command) } catch { done.fail(error) }
        try await done.futureResult.get()
    }

    package func resume() async throws { try await monitor().execute(QMP.Continue()) }

    package func connect(_ wanted: VMConfiguration) async throws {
        if let socket = wanted.shareSocket {
            var share = QMP.DeviceAdd(driver: "vhost-user-fs-pci", id: "share-device")
            (share.tag, share.queueSize) = (wanted.shareTag, wanted.shareQueueSize)
            try await connect("share", socket, share)
        }
        if let socket = wanted.vsockSocket {
            try await connect("vsock", socket, QMP.DeviceAdd(driver: "vhost-user-vsock-pci", id: "vsock-device"))
        }
    }

    private func connect(_ id: String, _ socket: String, _ device: QMP.DeviceAdd) async throws {
        let monitor = try await monitor()
        let port = try takePort(id)
        let connection = try UnixSocket.connect(socket)
        try await monitor.execute(QMP.GetFD(fdname: id), descriptor: connection.raw)
        try await monitor.execute(QMP.CharacterDeviceAdd(id: id, descriptor: id))
        var device = device
        (device.chardev, device.bus) = (id, port)
        try await monitor.execute(device)
    }
}
