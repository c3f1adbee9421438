import Netlink

/// What a network namespace holds at one moment.
package struct NetworkView: Equatable, Sendable {
    package var links: [Link] = []
    package var addresses: [LinkAddress] = []
    package var routes: [Route] = []
    package var neighbors: [Neighbor] = []

    package init() {}

    /// Reads it through a socket that was opened in the namespace.
    ///
    /// Each kind is a question of its own, and somebody may be at work between two: it is read again until two readings agree.
    package init(_ socket: NetlinkSocket) throws {
        var before = try Self.read(socket)
        for _ in 0..<20 {
            self = try Self.read(socket)
            if self == before { return }
            before = self
        }
    }

    /// As it would be without what was done for the guest.
    package func without(_ attachments: [Attachment]) -> NetworkView {
        var view = self
        for attachment in attachments {
            view.links.removeAll { $0.index == attachment.made }
            for index in view.links.indices where view.links[index].index == attachment.endpoint.link {
                if view.links[index].hardwareAddress == attachment.lent {
                    view.links[index].hardwareAddress = attachment.endpoint.hardwareAddress
                }
            }
        }
        return view
    }

    private static func read(_ socket: NetlinkSocket) throws -> NetworkView {
        var view = NetworkView()
        view.links = try socket.links()
        view.addresses = try socket.addresses()
        view.routes = try socket.routes()
        // The kernel's own knowledge of neighbours comes and goes with traffic; what is written down for good is asked for.
        view.neighbors = try socket.neighbors().filter(\.isPermanent)
        return view
    }
}
