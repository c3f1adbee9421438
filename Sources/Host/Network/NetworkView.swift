import Netlink

/// What a network namespace holds at one moment.
package struct NetworkView: Equatable, Sendable {
    package var links: [Link] = []
    package var addresses: [LinkAddress] = []
    package var routes: [Route] = []
    package var neighbors: [Neighbor] = []

    package init() {}

    /// Reads it through a socket that was opened in the namespace.
    package init(_ socket: NetlinkSocket) throws {
        links = try socket.links()
        addresses = try socket.addresses()
        routes = try socket.routes()
        neighbors = try socket.neighbors()
    }
}
