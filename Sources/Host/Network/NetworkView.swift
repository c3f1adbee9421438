import Netlink

/// The contents of a network namespace at one moment.
package struct NetworkView: Equatable, Sendable {
    package var links: [Link] = []
    package var addresses: [LinkAddress] = []
    package var routes: [Route] = []
    package var neighbors: [Neighbor] = []
    package var rules: [Rule] = []
    /// Changed settings of links (`LinkSettings`), by the links' indices.
    package var settings: [Int32: [String: String]] = [:]

    package init() {}

    /// Reads the view through a socket that was opened in the namespace, which is the calling thread's too.
    ///
    /// Each kind needs its own request, and another process may change something in between. Reads again until two
    /// readings agree.
    /// - Throws: `SystemError` of rtnetlink.
    package init(_ socket: NetlinkSocket) throws {
        var before = try Self.read(socket)
        for _ in 0..<Self.maxReadings {
            self = try Self.read(socket)
            if self == before { break }
            before = self
        }
        settings = ChangedSettings.of(links)
    }

    private static let maxReadings = 20

    /// The view without the changes that were made for the guest.
    package func without(_ attachments: [Attachment]) -> NetworkView {
        var view = self
        for attachment in attachments {
            view.links.removeAll { $0.index == attachment.createdLink }
            for index in view.links.indices where view.links[index].index == attachment.endpoint.link {
                if view.links[index].hardwareAddress == attachment.temporaryAddress {
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
        // Learned neighbours come and go with traffic. Only permanent ones and proxy entries are configured.
        view.neighbors = try socket.neighbors().filter { $0.isPermanent || $0.isProxy }
        view.rules = Rule.inForce(try socket.rules())
        return view
    }
}
