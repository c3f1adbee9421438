import CLinux
import Glibc
import LinuxKernel

/// What the VMM sets up: memory, the three queues (receive, transmit, event) and their eventfds.
final class DeviceState {
    let memory = GuestMemory()
    var queues = [Virtqueue](repeating: Virtqueue(), count: 3)
    /// The guest has reset the device, or is gone: its driver knows of no stream any more.
    var wasStopped = false
    private(set) var kicks: [SharedDescriptor?] = [nil, nil, nil]
    private var calls: [SharedDescriptor?] = [nil, nil, nil]

    /// - Returns: false for what is no eventfd.
    func setKick(_ queue: Int, _ descriptor: SharedDescriptor?) -> Bool {
        kicks[queue] = descriptor.flatMap(Self.event)
        return descriptor == nil || kicks[queue] != nil
    }

    /// - Returns: false for what is no eventfd.
    func setCall(_ queue: Int, _ descriptor: SharedDescriptor?) -> Bool {
        calls[queue] = descriptor.flatMap(Self.event)
        // As QEMU's are: a full counter doesn't hold the device up.
        if let call = calls[queue] { _ = fcntl(call.raw, F_SETFL, fcntl(call.raw, F_GETFL) | O_NONBLOCK) }
        return descriptor == nil || calls[queue] != nil
    }

    /// Other descriptors may be readable for ever, hold a writer up, or be somebody's file.
    private static func event(_ descriptor: SharedDescriptor) -> SharedDescriptor? {
        clx_is_typeless(descriptor.raw) == 1 ? descriptor : nil
    }

    /// Takes a kick. What can't be read as an eventfd is no kick any more.
    func takeKick(_ queue: Int) {
        guard let kick = kicks[queue] else { return }
        let result = clx_take_event(kick.raw)
        if result != 8, result != -EAGAIN, result != -EINTR { kicks[queue] = nil }
    }

    /// Tells the guest that chains came back, when it wants to know.
    func interrupt(_ queue: Int) {
        guard let call = calls[queue], queues[queue].wantsInterrupt else { return }
        var one: UInt64 = 1
        _ = write(call.raw, &one, 8)
    }
}
