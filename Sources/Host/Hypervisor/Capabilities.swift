/// The capabilities of a kind of hypervisor.
package struct Capabilities: Sendable, Equatable {
    package enum Device: Sendable, CaseIterable { case processor, memory, disk, network }
    package enum Channel: Sendable { case vhostUserVsock, vhostVsock, hybridVsock }
    package enum Share: Sendable { case virtioFS, nineP }

    /// Devices that can be added to a running machine.
    package var hotPlug: Set<Device>
    /// Devices that can be removed from a running machine.
    package var hotUnplug: Set<Device>
    /// Ways in which the host reaches the guest's vsock.
    package var channels: Set<Channel>
    /// Ways in which the guest gets files of the host.
    package var shares: Set<Share>
    /// Whether a machine can be saved, and others cloned from it.
    package var hasSnapshots: Bool

    package init(
        hotPlug: Set<Device>, hotUnplug: Set<Device>, channels: Set<Channel>, shares: Set<Share>, hasSnapshots: Bool
    ) {
        (self.hotPlug, self.hotUnplug, self.channels) = (hotPlug, hotUnplug, channels)
        (self.shares, self.hasSnapshots) = (shares, hasSnapshots)
    }
}
