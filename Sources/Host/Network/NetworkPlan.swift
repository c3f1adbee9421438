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

/// Chooses the links of a namespace that the guest gets, and what else it gets: a pure function of the view.
package struct NetworkPlan: Equatable, Sendable {
    /// Those with addresses come first.
    package private(set) var endpoints: [Endpoint]
    /// Addresses of the loopback link beside the kernel's own.
    package let loopback: [LinkAddress]
    package let loopbackLink: Int32
    package let routes: [Route]
    package let neighbors: [Neighbor]
    package let rules: [Rule]
    /// The links in use that the guest doesn't get.
    package let faults: [LinkFault]
    /// Other things that the guest doesn't get, each in one line.
    package let omissions: [String]

    /// A link that the guest gets.
    package struct Endpoint: Equatable, Sendable {
        package enum Source: String, Sendable {
            /// The link stays; filters redirect its frames to a tap.
            case redirected
            /// The link stays; its packets, which have no Ethernet headers, get some on their way to a tap.
            case wrapped
            /// The link stays, with a macvtap on it.
            case stacked
            /// The link stays and keeps its frames.
            case beside
            /// The link is a tap itself.
            case tap
            /// The link is a macvtap itself.
            case macvtap

            /// Whether filters pass packets between the link and a tap.
            var hasFilters: Bool { self == .redirected || self == .wrapped }
        }

        package let link: Int32
        package let name: String
        package let kind: String
        /// The guest's: the link's own, or a made one for a link without Ethernet headers.
        package let hardwareAddress: HardwareAddress
        package let mtu: UInt32
        package let addresses: [LinkAddress]
        /// Flags to set: IFF_NOARP where the link has it.
        package let flags: UInt32
        /// The link's IPv6 token.
        package let token: InternetAddress?
        package let isWithoutLinkLocal: Bool
        /// Changed settings (`LinkSettings`).
        package let settings: [String: String]
        package let source: Source

        /// Whether both can use the same card: names, addresses and routes are sent to the agent.
        package func isSameCard(as other: Endpoint) -> Bool {
            link == other.link && hardwareAddress == other.hardwareAddress && source == other.source
        }
    }

    package static let empty = NetworkPlan(NetworkView(), model: .none)

    /// - Parameter failed: links that could not be given to the guest.
    package init(_ view: NetworkView, model: InternetworkingModel, failed: [LinkFault] = []) {
        var endpoints: [Endpoint] = []
        var faults = failed
        let isInner = Self.inner(view.links)
        // A link that is down is still being set up: raising comes last. Each new namespace has tunnels that are down.
        for link in view.links where !link.isLoopback && !Self.isOwnName(link.name) && link.isUp {
            let addresses = Self.addresses(of: link, view)
            if addresses.isEmpty, isInner(link) { continue }
            if failed.contains(where: { $0.link == link.index }) { continue }
            do throws(LinkFault) {
                let source = try Self.source(of: link, model, hasAddress: !addresses.isEmpty)
                if addresses.isEmpty, !source.hasFilters, source != .stacked { continue }
                // Nobody answers ARP behind a link that carries IP packets alone.
                let noARP = link.hasFrames ? link.flags & LinkFlags.noARP : LinkFlags.noARP
                endpoints.append(
                    Endpoint(
                        link: link.index, name: link.name, kind: link.kind,
                        hardwareAddress: link.hasFrames ? link.hardwareAddress : .made(for: link.index),
                        mtu: link.mtu, addresses: addresses, flags: noARP,
                        token: link.token, isWithoutLinkLocal: link.isWithoutLinkLocal,
                        settings: view.settings[link.index] ?? [:], source: source))
            } catch { faults.append(error) }
        }
        self.endpoints = endpoints.filter { !$0.addresses.isEmpty } + endpoints.filter(\.addresses.isEmpty)
        self.faults = faults
        let content = NetworkContent(view, given: Set(endpoints.map(\.link)), refused: Set(faults.map(\.link)))
        (routes, neighbors, rules) = (content.routes, content.neighbors, view.rules)
        (loopback, loopbackLink, omissions) = (content.loopback, content.loopbackLink, content.omissions)
    }

    /// The plan without a link of the guest's.
    func without(_ link: Int32) -> NetworkPlan {
        var plan = self
        plan.endpoints.removeAll { $0.link == link }
        return plan
    }

    /// The reason to refuse the sandbox: the namespace has addresses, and the guest would have none of them.
    package var refusal: NetworkError? {
        guard !endpoints.contains(where: { !$0.addresses.isEmpty }) else { return nil }
        return faults.first(where: \.hasAddress).map { NetworkError($0.description) }
    }

    static func addresses(of link: Link, _ view: NetworkView) -> [LinkAddress] {
        view.addresses.filter { $0.link == link.index && !$0.isMadeByKernel(for: link) }
            .map { $0.withoutLabel(of: link.name) }
    }

    /// Tells links whose frames are another link's of the namespace. Such are a bridge's port, the link below a VLAN,
    /// and one end of a veth that has both ends there.
    private static func inner(_ links: [Link]) -> (Link) -> Bool {
        let present = Set(links.map(\.index))
        // A veth's other end is not below it.
        let bases = Set(links.filter { $0.kind != veth }.map(\.lower))
        return { link in
            link.master != 0 || bases.contains(link.index) || link.kind == veth && present.contains(link.lower)
        }
    }

    private static let veth = "veth"

    /// Tunnels that send and receive outer packets in the namespace where they were made. WireGuard does so too, but
    /// the kernel doesn't tell where it was made.
    private static let tunnels: Set<String> = [
        "ipip", "sit", "gre", "gretap", "erspan", "ip6tnl", "ip6gre", "ip6gretap", "ip6erspan", "vti", "vti6", "xfrm",
        "vxlan", "geneve", "bareudp", "gtp",
    ]

    static func ownName(_ index: Int) -> String { "tap\(index)_kata" }

    static func isOwnName(_ name: String) -> Bool { name.hasPrefix("tap") && name.hasSuffix("_kata") }

    private static func source(of link: Link, _ model: InternetworkingModel, hasAddress: Bool) throws(LinkFault)
        -> Endpoint.Source
    {
        func fault(_ reason: String) -> LinkFault { LinkFault(link, reason, hasAddress: hasAddress) }
        switch link.kind {
        case "tun" where link.hasFrames: return .tap
        case "macvtap": return .macvtap
        case _ where tunnels.contains(link.kind) && !link.isBasedElsewhere:
            throw fault(
                "(\(link.kind)) is a tunnel whose outer packets would go to the guest: make it in another namespace, and move it here"
            )
        case "":
            throw fault("is a physical device: a guest can't be given it yet; put a macvlan or a bridge on it")
        case _ where !link.hasFrames && !link.hasBarePackets:
            throw fault(
                "(\(link.kind)) carries neither Ethernet frames nor plain IP packets, and can't be given to a guest")
        case _ where !link.hasFrames: return model == .none ? .beside : .wrapped
        default:
            return switch model {
            case .tcfilter: .redirected
            // An ipvlan has the address of its lower link, and a macvlan can't carry another.
            case .macvtap: link.kind == veth ? .stacked : .redirected
            case .none: .beside
            }
        }
    }
}

/// A link of the namespace that the guest doesn't get.
package struct LinkFault: Error, Hashable, CustomStringConvertible {
    package let link: Int32
    package let name: String
    package let kind: String
    /// Follows the link's name in a sentence, or a colon.
    package let reason: String
    package let hasAddress: Bool
    /// Whether the link is of a kind that can be given: the words of the failure may differ each time.
    private let isFailure: Bool

    package init(_ link: Link, _ reason: String, hasAddress: Bool) {
        (self.link, name, kind) = (link.index, link.name, link.kind)
        (self.reason, self.hasAddress, isFailure) = (reason, hasAddress, false)
    }

    /// A link that failed on its way to the guest.
    package init(_ endpoint: NetworkPlan.Endpoint, _ error: any Error) {
        (link, name, kind) = (endpoint.link, endpoint.name, endpoint.kind)
        (reason, hasAddress) = ("can't be given to the guest: \(error)", !endpoint.addresses.isEmpty)
        isFailure = true
    }

    /// The same for faults that are reported once together.
    package var key: String { isFailure ? "failure of link \(name)" : description }

    package var description: String { "link \(name) \(reason)" }
}

/// The reason why a sandbox can't have its network: one line for a person.
package struct NetworkError: Error, Equatable, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}
