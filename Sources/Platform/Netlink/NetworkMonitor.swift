import CLinux
import Glibc
import LinuxKernel

/// Reports changes of the calling thread's network namespace.
package struct NetworkMonitor: ~Copyable, Sendable {
    /// The kinds of objects to watch: a bit for each group of rtnetlink(7), of IPv4 and IPv6.
    package struct Groups: OptionSet, Sendable {
        package let rawValue: UInt32
        package init(rawValue: UInt32) { self.rawValue = rawValue }
        private init(_ numbers: GroupNumber...) { rawValue = numbers.reduce(0) { $0 | 1 << ($1.rawValue - 1) } }

        package static let links = Groups(.link)
        package static let neighbors = Groups(.neighbor)
        package static let addresses = Groups(.ipv4Address, .ipv6Address)
        package static let routes = Groups(.ipv4Route, .ipv6Route, .nextHop)
        package static let rules = Groups(.ipv4Rule, .ipv6Rule)
        package static let all: Groups = [links, neighbors, addresses, routes, rules]
    }

    private let descriptor: FileDescriptor

    /// Watches these kinds of objects from now on.
    /// - Throws: `SystemError` with the errno of socket(2) or bind(2), such as EMFILE.
    package init(_ groups: Groups) throws(SystemError) {
        descriptor = FileDescriptor(
            owning: try checkNegativeErrno("open", "rtnetlink", clx_netlink_route(0, groups.rawValue)))
    }

    /// Blocks until something changes.
    /// - Returns: false when the time is over or `stop` is readable.
    /// - Throws: `SystemError` with the errno of poll(2).
    package func wait(until deadline: ContinuousClock.Instant?, stop: Int32 = -1) throws(SystemError) -> Bool {
        while true {
            var ready = [
                pollfd(fd: descriptor.raw, events: Int16(POLLIN), revents: 0),
                pollfd(fd: stop, events: Int16(POLLIN), revents: 0),
            ]
            var limit = Int32(-1)
            if let deadline {
                let rest = (deadline - ContinuousClock.now) / .milliseconds(1)
                guard rest > 0 else { return false }
                limit = Int32(clamping: Int(rest.rounded(.up)))
            }
            // SAFETY: `ready` has as many elements as poll(2) may change.
            guard try check("wait for", "the network", { unsafe poll(&ready, nfds_t(ready.count), limit) }) > 0,
                ready[1].revents == 0
            else {
                return false
            }
            // Lost messages (ENOBUFS) are a change too: the caller lists everything again.
            // SAFETY: recv(2) writes at most `count` bytes.
            let (bytes, count) = unsafe readBytes(upTo: 65536) {
                unsafe recv(descriptor.raw, $0.baseAddress, $0.count, 0)
            }
            if count < 0 || NetlinkMessage.parse(bytes).contains(where: Self.isChange) { return true }
        }
    }

    /// Whether a message is about something that was configured. Neighbours, and addresses behind a bridge's ports, are
    /// learned all the time.
    static func isChange(_ message: NetlinkMessage) -> Bool {
        guard [MessageType.newNeighbor, MessageType.deleteNeighbor].contains(message.type) else { return true }
        guard let neighbor = Neighbor(message.payload) else { return false }
        return neighbor.isPermanent || neighbor.isProxy
    }
}
