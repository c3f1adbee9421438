import CLinux
import Glibc
import LinuxKernel

/// The device as the VMM sets it up: memory, the three queues (receive, transmit, event) and their eventfds.
final class DeviceState {
    let memory = GuestMemory()
    var queues = [Virtqueue](repeating: Virtqueue(), count: 3)
    /// Whether the guest has reset the device or is gone: its driver has forgotten all streams.
    var wasStopped = false
    private(set) var kicks: [SharedDescriptor?] = [nil, nil, nil]
    private var calls: [SharedDescriptor?] = [nil, nil, nil]

    /// - Returns: false when the descriptor is no eventfd.
    func setKick(_ queue: Int, _ descriptor: SharedDescriptor?) -> Bool {
        kicks[queue] = descriptor.flatMap(Self.event)
        return descriptor == nil || kicks[queue] != nil
    }

    /// - Returns: false when the descriptor is no eventfd.
    func setCall(_ queue: Int, _ descriptor: SharedDescriptor?) -> Bool {
        calls[queue] = descriptor.flatMap(Self.event)
        // Non-blocking, as a VMM's own are: a full counter must not block the device.
        if let call = calls[queue] { _ = fcntl(call.raw, F_SETFL, fcntl(call.raw, F_GETFL) | O_NONBLOCK) }
        return descriptor == nil || calls[queue] != nil
    }

    /// Refuses other descriptors: they may be readable for ever, block a writer, or be a file.
    ///
    /// An eventfd has no file type (anon_inode).
    private static func event(_ descriptor: SharedDescriptor) -> SharedDescriptor? {
        clx_is_typeless(descriptor.raw) == 1 ? descriptor : nil
    }

    /// Reads a kick. Drops the descriptor when it can't be read as an eventfd.
    func takeKick(_ queue: Int) {
        guard let kick = kicks[queue] else { return }
        let result = clx_take_event(kick.raw)
        if result != MemoryLayout<UInt64>.size, result != -EAGAIN, result != -EINTR { kicks[queue] = nil }
    }

    /// Interrupts the guest after chains were returned, unless it has turned interrupts off.
    func interrupt(_ queue: Int) {
        guard let call = calls[queue], queues[queue].wantsInterrupt else { return }
        var one: UInt64 = 1
        // SAFETY: write(2) reads the eight bytes of `one`.
        _ = unsafe write(call.raw, &one, MemoryLayout<UInt64>.size)
    }
}
