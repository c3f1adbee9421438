import LinuxKernel

/// A network card to add to a machine.
package struct NetworkDevice: Sendable {
    /// A unique name among the machine's devices.
    package let id: String
    package let hardwareAddress: String
    /// Descriptors of a tap or macvtap, one for each queue.
    package let queues: [SharedDescriptor]
    /// Whether the host's kernel moves the frames (/dev/vhost-net) instead of the hypervisor.
    package let vhost: Bool

    package init(id: String, hardwareAddress: String, queues: [SharedDescriptor], vhost: Bool) {
        (self.id, self.hardwareAddress, self.queues, self.vhost) = (id, hardwareAddress, queues, vhost)
    }
}
