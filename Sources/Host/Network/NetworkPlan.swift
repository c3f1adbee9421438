import Netlink

/// The way frames get from a link of the sandbox's network namespace to the guest (`internetworking_model`).
package enum InternetworkingModel: String, Sendable, CaseIterable {
    /// Filters pass frames from the link to a tap and back.
    case tcfilter
    /// The guest gets a macvtap on the link.
    case macvtap
    /// A tap exists; the namespace's owner directs frames to it.
    case none
}

/// Chooses the links of a namespace that the guest gets, with their settings: a pure function of the view.
package struct NetworkPlan: Equatable, Sendable {
    package let endpoints: [Endpoint]
    package let routes: [Route]
    package let neighbors: [Neighbor]

    /// A link that the guest gets.
    package struct Endpoint: Equatable, Sendable {
        package enum Source: String, Sendable {
            /// The link stays; filters redirect its frames to a tap.
            case redirected
            /// The link stays, with a macvtap on it.
            case stacked
            /// The link stays and keeps its frames.
            case beside
            /// The link is a tap itself.
            case tap
            /// The link is a macvtap itself.
            case macvtap
        }

        package let link: Int32
        package let name: String
        package let kind: String
        package let hardwareAddress: HardwareAddress
        package let mtu: UInt32
        package let addresses: [Prefix]
        /// Flags to set: IFF_NOARP where the link has it.
        package let flags: UInt32
        package let source: Source

        /// Whether both can use the same card: names, addresses and routes are sent to the agent.
        package func isSameCard(as other: Endpoint) -> Bool {
            link == other.link && hardwareAddress == other.hardwareAddress && source == other.source
        }
    }

    package static let empty = NetworkPlan(endpoints: [], routes: [], neighbors: [])

    private init(endpoints: [Endpoint], routes: [Route], neighbors: [Neighbor]) {
        (self.endpoints, self.routes, self.neighbors) = (endpoints, routes, neighbors)
    }

    /// - Throws: `NetworkError` for a link in use that the guest can't get.
    package init(_ view: NetworkView, model: InternetworkingModel) throws(NetworkError) {
        var endpoints: [Endpoint] = []
        for link in view.links where !link.isLoopback && !Self.isOwnName(link.name) {
            // IPv6 link-local addresses (scope 253) are made by the kernel; the guest makes its own.
            let addresses = view.addresses.filter { $0.link == link.index && $0.scope != RouteScope.link }.map(\.prefix)
            // Skips tunnels that each new namespace has, and links that are still being set up: raising comes last.
            if addresses.isEmpty || !link.isUp { continue }
            endpoints.append(
                Endpoint(
                    link: link.index, name: link.name, kind: link.kind, hardwareAddress: link.hardwareAddress,
                    mtu: link.mtu, addresses: addresses, flags: link.flags & 0x80,
                    source: try Self.source(of: link, model)))
        }
        self.endpoints = endpoints
        let given = Set(endpoints.map(\.link))
        // The guest's kernel also makes the routes of addresses (protocol 2), and receives those of routers (9).
        routes = view.routes.filter {
            given.contains($0.link) && $0.isOrdinary && $0.protocol != 2
                && !($0.isIPv6 && $0.protocol == 9)
        }
        neighbors = view.neighbors.filter { given.contains($0.link) }
    }

    /// The endpoints without a link that has gone.
    package func without(_ link: Int32) -> NetworkPlan {
        NetworkPlan(
            endpoints: endpoints.filter { $0.link != link }, routes: routes.filter { $0.link != link },
            neighbors: neighbors.filter { $0.link != link })
    }

    static func ownName(_ index: Int) -> String { "tap\(index)_kata" }

    private static func isOwnName(_ name: String) -> Bool { name.hasPrefix("tap") && name.hasSuffix("_kata") }

    private static func source(of link: Link, _ model: InternetworkingModel) throws(NetworkError) -> Endpoint.Source {
        switch link.kind {
        case "tun":
            guard link.hardwareAddress.bytes.count == 6 else {
                throw NetworkError("link \(link.name) is a tun device, which carries no Ethernet frames; use a tap")
            }
            return .tap
        case "macvtap": return .macvtap
        case "":
            throw NetworkError(
                "link \(link.name) is a physical device: a guest can't be given it yet; put a macvlan or a bridge on it"
            )
        case _ where link.hardwareAddress.bytes.count != 6:
            throw NetworkError(
                "link \(link.name) (\(link.kind)) carries no Ethernet frames and can't be given to a guest")
        default:
            return switch model {
            case .tcfilter: .redirected
            // An ipvlan has the address of its lower link, and a macvlan can't carry another.
            case .macvtap: link.kind == "veth" ? .stacked : .redirected
            case .none: .beside
            }
        }
    }
}

/// The reason why a sandbox can't have its network: one line for a person.
package struct NetworkError: Error, Equatable, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}
