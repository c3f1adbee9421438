import CLinux
import Glibc
import LinuxKernel

/// Waits for devices that the kernel adds or removes (NETLINK_KOBJECT_UEVENT, netlink(7)).
package struct DeviceEvents: ~Copyable {
    private let descriptor: FileDescriptor

    /// Listens to events from now on.
    /// - Throws: `SystemError` with the errno of socket(2) or bind(2), such as EMFILE.
    package init() throws(SystemError) {
        descriptor = FileDescriptor(
            owning: try checkNegativeErrno("open", "the kernel's device events", clx_kernel_events()))
    }

    /// Calls `look` at once and after each event until it finds something. Blocks.
    ///
    /// The content of an event doesn't matter: `look` reads sysfs. No event is missed, as the socket listens before the
    /// first look.
    /// - Returns: nil when the time is over.
    /// - Throws: the errors of `look`, or when poll(2) fails.
    package func wait<Found>(until deadline: ContinuousClock.Instant, for look: () throws -> Found?) throws -> Found? {
        var buffer = [UInt8](repeating: 0, count: 8192)
        while true {
            if let found = try look() { return found }
            guard deadline > .now else { return nil }
            _ = descriptor.isReadable(by: deadline)
            // One look serves all events that have come meanwhile.
            // SAFETY: recv(2) writes at most `count` bytes.
            while unsafe recv(descriptor.raw, &buffer, buffer.count, 0) > 0 {}
        }
    }
}
