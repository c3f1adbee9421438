import Glibc
import LinuxKernel

/// A network card to add to a machine.
package struct NetworkDevice: Sendable {
    /// A name that no other device has.
    package let id: String
    package let hardwareAddress: String
    /// Of a tap or macvtap, one for each queue.
    package let queues: [SharedDescriptor]
    /// The host's kernel moves the frames (/dev/vhost-net), not QEMU.
    package let vhost: Bool

    package init(id: String, hardwareAddress: String, queues: [SharedDescriptor], vhost: Bool) {
        (self.id, self.hardwareAddress, self.queues, self.vhost) = (id, hardwareAddress, queues, vhost)
    }

    /// Arguments of netdev_add (qapi/net.json).
    func backend(_ names: [String], vhost vhostNames: [String]) -> String {
        func list(_ name: String, _ names: [String]) -> String {
            names.isEmpty
                ? ""
                : names.count == 1
                    ? #","\#(name)fd":"\#(names[0])""# : #","\#(name)fds":"\#(names.joined(separator: ":"))""#
        }
        return #"{"type":"tap","id":"\#(id)"\#(list("", names)),"vhost":\#(vhost)\#(list("vhost", vhostNames))}"#
    }

    /// Arguments of device_add. Each queue has two interrupts, and the device two more.
    func frontEnd(on port: String) -> String {
        let many = queues.count > 1 ? #","mq":true,"vectors":\#(2 * queues.count + 2)"# : ""
        return
            #"{"driver":"virtio-net-pci","id":"\#(id)-card","netdev":"\#(id)","mac":"\#(hardwareAddress)","bus":"\#(port)","romfile":""\#(many)}"#
    }
}

/// Cards that come and go while the machine runs (qapi/qdev.json).
extension QEMUVirtualMachine {
    package var hasFreePort: Bool { slots.withLock { $0.hasFree } }

    package func add(_ device: NetworkDevice) async throws {
        let monitor = try await monitor()
        let port = try slots.withLock { (slots) throws(QMPError) in try slots.take(device.id) }
        var backend = false
        do {
            func give(_ kind: String, _ descriptors: [SharedDescriptor]) async throws -> [String] {
                var names: [String] = []
                for (index, descriptor) in descriptors.enumerated() {
                    names.append("\(device.id)-\(kind)\(index)")
                    try await monitor.execute(
                        "getfd", #"{"fdname":"\#(names[index])"}"#, descriptor: descriptor.raw)
                }
                return names
            }
            let vhost = try device.vhost ? device.queues.map { _ in try Self.openVhostNet() } : []
            let names = try await give("queue", device.queues)
            let vhostNames = try await give("vhost", vhost)
            try await monitor.execute("netdev_add", device.backend(names, vhost: vhostNames))
            backend = true
            try await monitor.execute("device_add", device.frontEnd(on: port))
        } catch {
            if backend { try? await monitor.execute("netdev_del", #"{"id":"\#(device.id)"}"#) }
            slots.withLock { $0.release(device.id) }
            throw error
        }
    }

    /// - Parameter id: of the network device.
    package func removeNetworkDevice(_ id: String) async throws {
        try await remove(device: id + "-card", timeout: Deadline.release.limit)
        try await monitor().execute("netdev_del", #"{"id":"\#(id)"}"#)
        slots.withLock { $0.release(id) }
    }

    private static func openVhostNet() throws -> SharedDescriptor {
        SharedDescriptor(try FileDescriptor.open("/dev/vhost-net", O_RDWR))
    }
}
