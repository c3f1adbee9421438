import LinuxKernel

/// A rule for packets that arrive at a link, before the network stack sees them. It is a u32 filter of the link's
/// ingress queueing discipline (tc(8), tc-u32(8), tc-mirred(8)).
package struct IngressRule: Equatable, Sendable {
    package enum Action: Equatable, Sendable {
        /// Sends the packet out on another link; the network stack doesn't get it.
        case redirect(to: Int32)
        /// Sends a copy out on another link; the network stack gets the packet too.
        case mirror(to: Int32)
        /// Gives the packet to the network stack and skips the rules that follow.
        case pass
    }

    /// Four bytes at `offset` of the network header, masked.
    package struct Match: Equatable, Sendable {
        package let value: UInt32
        package let mask: UInt32
        package let offset: Int32
        package init(_ value: UInt32, mask: UInt32, at offset: Int32) {
            self.value = value
            self.mask = mask
            self.offset = offset
        }
    }

    /// ETH_P_* (linux/if_ether.h).
    package let `protocol`: UInt16
    /// Rules with lower numbers come first.
    package let priority: UInt16
    /// All must match; an empty list matches every packet.
    package let matches: [Match]
    package let action: Action

    package init(protocol: UInt16 = EtherType.all, priority: UInt16, matches: [Match] = [], _ action: Action) {
        self.protocol = `protocol`
        self.priority = priority
        self.matches = matches
        self.action = action
    }

    /// struct tcmsg and attributes for RTM_NEWTFILTER.
    func payload(on link: Int32) -> [UInt8] {
        var writer = TrafficControl.header(
            link, handle: 0, parent: TrafficValue.ingressFilters,
            info: UInt32(priority) << 16 | UInt32(`protocol`.bigEndian))
        writer.attribute(TrafficAttribute.kind, "u32")
        writer.nested(TrafficAttribute.options) { options in
            // struct tc_u32_sel needs one key at least; an empty mask matches everything.
            var selector = MessageWriter()
            let keys = matches.isEmpty ? [Match(0, mask: 0, at: 0)] : matches
            for field in [TrafficValue.terminal, 0, UInt8(keys.count), 0] { selector.put(field) }
            for _ in 0..<3 { selector.put(UInt32(0)) }
            for key in keys {
                selector.put(key.mask.bigEndian)
                selector.put(key.value.bigEndian)
                selector.put(key.offset)
                selector.put(UInt32(0))
            }
            options.attribute(TrafficAttribute.selector, selector.bytes)
            // A filter without an action lets a matching packet through (TC_ACT_OK).
            switch action {
            case .pass: break
            case .redirect(let link): Self.mirred(&options, verdict: TrafficValue.stolen, TrafficValue.redirect, link)
            case .mirror(let link): Self.mirred(&options, verdict: TrafficValue.accepted, TrafficValue.mirror, link)
            }
        }
        return writer.bytes
    }

    /// Adds the filter's one action: struct tc_mirred, which is struct tc_gen, the operation and the link.
    private static func mirred(_ options: inout MessageWriter, verdict: UInt32, _ operation: UInt32, _ link: Int32) {
        var parameters = MessageWriter()
        for field in [0, 0, verdict, 0, 0, operation, UInt32(bitPattern: link)] { parameters.put(field) }
        options.nested(TrafficAttribute.actions) { actions in
            actions.nested(TrafficAttribute.firstAction) { action in
                action.attribute(TrafficAttribute.actionKind, "mirred")
                action.nested(TrafficAttribute.actionOptions) {
                    $0.attribute(TrafficAttribute.mirredParameters, parameters.bytes)
                }
            }
        }
    }
}

/// A rule for packets that arrive at a link without Ethernet headers: a program (`EthernetProgram`) gives each a header
/// and sends it out on another link. It is a bpf filter of the link's ingress queueing discipline (tc-bpf(8)).
package struct IngressProgram: Sendable {
    private let priority: UInt16
    private let program: SharedDescriptor
    private let target: Int32
    /// Before the target's index in the filter's name: the kernel does not tell where a program sends packets.
    private static let namePrefix = "kata-to-"

    /// - Parameter target: the link that the program sends packets to.
    package init(priority: UInt16, _ program: SharedDescriptor, to target: Int32) {
        (self.priority, self.program, self.target) = (priority, program, target)
    }

    /// struct tcmsg and attributes for RTM_NEWTFILTER.
    func payload(on link: Int32) -> [UInt8] {
        var writer = TrafficControl.header(
            link, handle: 0, parent: TrafficValue.ingressFilters,
            info: UInt32(priority) << 16 | UInt32(EtherType.all.bigEndian))
        writer.attribute(TrafficAttribute.kind, "bpf")
        writer.nested(TrafficAttribute.options) { options in
            options.attribute(TrafficAttribute.program, UInt32(bitPattern: program.raw))
            options.attribute(TrafficAttribute.programName, Self.namePrefix + "\(target)")
            options.attribute(TrafficAttribute.programFlags, TrafficValue.programDecides)
        }
        return writer.bytes
    }

    /// The link in a filter's name; nil for another program's name.
    static func target(in name: String?) -> Int32? {
        guard let name, name.hasPrefix(namePrefix) else { return nil }
        return Int32(name.dropFirst(namePrefix.count))
    }
}

/// A filter at a link's ingress, of any program's.
package struct IngressFilter: Equatable, Sendable {
    package let priority: UInt16
    /// ETH_P_*.
    package let `protocol`: UInt16
    /// The link that the filter's first action redirects or copies to, or that an `IngressProgram` names; nil where it
    /// does neither, 0 where the link of an action has gone.
    package let target: Int32?

    init?(_ payload: [UInt8]) {
        guard payload.count >= TrafficControl.headerSize else { return nil }
        let info = payload[...].number(at: 16, as: UInt32.self)
        (priority, `protocol`) = (UInt16(info >> 16), UInt16(truncatingIfNeeded: info).bigEndian)
        let attributes = Attributes(payload[TrafficControl.headerSize...])
        let options = attributes.nested(TrafficAttribute.options)
        if attributes.text(TrafficAttribute.kind) == "bpf" {
            target = IngressProgram.target(in: options?.text(TrafficAttribute.programName))
            return
        }
        let action = options?.nested(TrafficAttribute.actions)?.nested(TrafficAttribute.firstAction)
        let parameters =
            action?.text(TrafficAttribute.actionKind) == "mirred"
            ? action?.nested(TrafficAttribute.actionOptions)?.bytes(TrafficAttribute.mirredParameters) : nil
        target = parameters.flatMap {
            $0.count >= TrafficValue.mirredLinkOffset + 4
                ? $0[...].number(at: TrafficValue.mirredLinkOffset, as: Int32.self) : nil
        }
    }
}

/// A queueing discipline (RTM_NEWQDISC).
struct QueueingDiscipline: Equatable {
    let link: Int32
    let parent: UInt32
    let kind: String

    init?(_ payload: [UInt8]) {
        guard payload.count >= TrafficControl.headerSize,
            let kind = Attributes(payload[TrafficControl.headerSize...]).text(TrafficAttribute.kind)
        else { return nil }
        link = payload[...].number(at: 4, as: Int32.self)
        parent = payload[...].number(at: 12, as: UInt32.self)
        self.kind = kind
    }
}

enum TrafficControl {
    /// Size of struct tcmsg.
    static let headerSize = 20

    /// The message that names all ingress filters of a link with a priority and protocol; 0: any.
    static func filters(_ link: Int32, priority: UInt16 = 0, protocol: UInt16 = 0) -> [UInt8] {
        header(
            link, handle: 0, parent: TrafficValue.ingressFilters,
            info: UInt32(priority) << 16 | UInt32(`protocol`.bigEndian)
        ).bytes
    }

    /// Starts a message with struct tcmsg.
    static func header(_ link: Int32, handle: UInt32, parent: UInt32, info: UInt32 = 0) -> MessageWriter {
        var writer = MessageWriter()
        writer.put(UInt32(0))
        writer.put(link)
        writer.put(handle)
        writer.put(parent)
        writer.put(info)
        return writer
    }

    /// The message that adds or removes the ingress queueing discipline of a link.
    static func ingress(_ link: Int32) -> [UInt8] {
        var writer = header(link, handle: TrafficValue.ingressHandle, parent: TrafficValue.ingressParent)
        writer.attribute(TrafficAttribute.kind, "ingress")
        return writer.bytes
    }
}
