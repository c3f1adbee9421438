import CLinux
import Glibc
import LinuxKernel

/// Hears that devices come and go (NETLINK_KOBJECT_UEVENT, netlink(7)).
package struct DeviceEvents: ~Copyable {
    private let descriptor: FileDescriptor

    package init() throws(SystemError) {
        descriptor = FileDescriptor(
            owning: try checkNegativeErrno("open", "the kernel's device events", clx_kernel_events()))
    }

    /// Looks at once and after each event, until there is something or the time is over: then nil. Blocks.
    ///
    /// What the events say does not matter, sysfs tells it better: nothing is missed, as this listens before it looks.
    package func wait<Found>(until deadline: ContinuousClock.Instant, for look: () throws -> Found?) throws -> Found? {
        var buffer = [UInt8](repeating: 0, count: 8192)
        while true {
            if let found = try look() { return found }
            let rest = (deadline - ContinuousClock.now) / .milliseconds(1)
            guard rest > 0 else { return nil }
            var ready = pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0)
            _ = try check("wait for", "a device") { poll(&ready, 1, Int32(clamping: Int(rest.rounded(.up)))) }
            // All that have come meanwhile need one look.
            while recv(descriptor.raw, &buffer, buffer.count, 0) > 0 {}
        }
    }
}
