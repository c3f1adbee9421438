import Glibc
import LinuxKernel
import Netlink

/// Filters that pass the frames of a link to a tap and back. What others have put on the link stays.
struct Redirection {
    private let link: Int32
    private let tap: Int32
    private let ownsDiscipline: Bool
    /// The guest's address on a link whose packets have no Ethernet headers; nil where they have.
    private let receiver: HardwareAddress?
    private let socket: NetlinkSocket

    /// Priorities of this runtime's filters. They come last: for a filter without one, tc(8) and the kernel choose a
    /// number below all others.
    private enum Priority {
        /// The first of three, for the answers to the namespace's resolver.
        static let resolver: UInt16 = 0xf001
        static let redirection: UInt16 = 0xffff
        /// The other one's, on the tap of a link without Ethernet headers.
        static let redirectionOfIPv6: UInt16 = 0xfffe
        static let own: Set<UInt16> = [resolver, resolver + 1, resolver + 2, redirection]
    }

    /// - Parameters:
    ///   - ownsDiscipline: the link had no ingress discipline before: it goes with the filters.
    ///   - receiver: the guest's address on a link whose packets have no Ethernet headers; nil where they have.
    init(link: Int32, tap: Int32, ownsDiscipline: Bool, receiver: HardwareAddress?, _ socket: NetlinkSocket) {
        (self.link, self.tap, self.ownsDiscipline, self.socket) = (link, tap, ownsDiscipline, socket)
        self.receiver = receiver
    }

    /// Whether a link has no ingress discipline, or only one that a sandbox has left behind.
    static func mayOwnDiscipline(of link: Int32, _ socket: NetlinkSocket) throws(SystemError) -> Bool {
        guard let kind = try socket.ingressDiscipline(of: link) else { return true }
        let filters = try socket.ingressFilters(of: link)
        return kind == "ingress" && !filters.isEmpty && filters.allSatisfy(isOwn)
    }

    private static func isOwn(_ filter: IngressFilter) -> Bool { Priority.own.contains(filter.priority) }

    /// - Parameter name: the link's, for errors.
    /// - Throws: `NetworkError` when another sandbox has the link's packets.
    func make(name: String, resolver: Bool) throws {
        if try socket.ingressDiscipline(of: link) == nil {
            try socket.addIngress(link)
        } else {
            try removeLeftovers(name)
        }
        do {
            try socket.addIngress(tap)
            if resolver { try allowResolverReplies() }
            if let receiver { try addHeaders(for: receiver) } else { try redirectFrames() }
        } catch {
            undo()
            throw error
        }
    }

    private func redirectFrames() throws {
        try socket.add(IngressRule(priority: Priority.redirection, .redirect(to: tap)), on: link)
        try socket.add(IngressRule(priority: Priority.redirection, .redirect(to: link)), on: tap)
    }

    /// Gives the link's packets Ethernet headers on their way to the tap. On the way back, mirred leaves the headers
    /// out for such a link, and what is no IP packet stays behind.
    private func addHeaders(for receiver: HardwareAddress) throws {
        let program = try EthernetProgram.load(to: tap, destination: receiver.bytes, source: receiver.bytes)
        let ingress = IngressProgram(priority: Priority.redirection, program, to: tap)
        do throws(SystemError) { try socket.add(ingress, on: link) } catch {
            guard error.code == ENOENT else { throw error }
            throw NetworkError("it carries no Ethernet frames, and the host's kernel lacks CONFIG_NET_CLS_BPF")
        }
        for (type, priority) in [
            (EtherType.ipv4, Priority.redirection), (EtherType.ipv6, Priority.redirectionOfIPv6),
        ] {
            try socket.add(IngressRule(protocol: type, priority: priority, .redirect(to: link)), on: tap)
        }
    }

    /// Removes the filters of a sandbox that was killed: its tap has gone.
    private func removeLeftovers(_ name: String) throws {
        let own = try socket.ingressFilters(of: link).filter(Self.isOwn)
        guard !own.isEmpty else { return }
        let present = Set(try socket.links().map(\.index))
        guard !own.contains(where: { $0.target.map(present.contains) ?? false }) else {
            throw NetworkError("link \(name): another sandbox has its packets")
        }
        for filter in own { try? socket.delete(filter, on: link) }
    }

    /// Lets the namespace's resolver receive its answers.
    func allowResolverReplies() throws {
        try NameResolver.claimPorts()
        for rule in NameResolver.rules(tap: tap, from: Priority.resolver) { try socket.add(rule, on: link) }
    }

    /// Removes the filters. Removes the discipline too, where this redirection has added it and no filter is left in it.
    func undo() {
        let own = (try? socket.ingressFilters(of: link))?.filter(Self.isOwn) ?? []
        let others = (try? socket.links().map(\.index))?.filter { $0 != tap } ?? []
        // A later sandbox may have the link's packets by now. It has removed what this one had left behind.
        guard !own.contains(where: { $0.target.map(others.contains) ?? false }) else { return }
        // One request removes all filters of a priority.
        for filter in own { try? socket.delete(filter, on: link) }
        guard ownsDiscipline, (try? socket.ingressDiscipline(of: link)) == "ingress",
            (try? socket.ingressFilters(of: link))?.isEmpty == true
        else { return }
        try? socket.deleteIngress(link)
    }
}
