import LinuxKernel

/// What becomes of packets that arrive at a link before the network stack sees them: a u32 filter of its ingress queueing
/// discipline (tc(8), tc-u32(8), tc-mirred(8)).
package struct IngressRule: Equatable, Sendable {
    package enum Action: Equatable, Sendable {
        /// Out at another link, and gone from here.
        case redirect(to: Int32)
        /// A copy out at another link; the network stack gets the packet too.
        case mirror(to: Int32)
        /// To the network stack, past the rules that follow.
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

    /// ETH_P_*; 3 is every protocol.
    package let `protocol`: UInt16
    /// The lowest is asked first.
    package let priority: UInt16
    /// All must fit; none fits everything.
    package let matches: [Match]
    package let action: Action

    package init(protocol: UInt16 = 3, priority: UInt16, matches: [Match] = [], _ action: Action) {
        self.protocol = `protocol`
        self.priority = priority
        self.matches = matches
        self.action = action
    }

    private static let (stolen, accepted) = (UInt32(4), UInt32(0))

    /// struct tcmsg and attributes for RTM_NEWTFILTER.
    func payload(on link: Int32) -> [UInt8] {
        var writer = TrafficControl.header(
            link, handle: 0, parent: 0xffff_0000, info: UInt32(priority) << 16 | UInt32(`protocol`.bigEndian))
        writer.attribute(1, "u32")
        writer.nested(2) { options in
            // struct tc_u32_sel; one key at least, an empty mask fits all.
            var selector = MessageWriter()
            let keys = matches.isEmpty ? [Match(0, mask: 0, at: 0)] : matches
            for field in [UInt8(1), 0, UInt8(keys.count), 0] { selector.put(field) }
            for _ in 0..<3 { selector.put(UInt32(0)) }
            for key in keys {
                selector.put(key.mask.bigEndian)
                selector.put(key.value.bigEndian)
                selector.put(key.offset)
                selector.put(UInt32(0))
            }
            options.attribute(5, selector.bytes)
            // A filter that fits and does nothing lets the packet through (TC_ACT_OK).
            switch action {
            case .pass: break
            case .redirect(let link): Self.mirred(&options, verdict: Self.stolen, operation: 1, link)
            case .mirror(let link): Self.mirred(&options, verdict: Self.accepted, operation: 2, link)
            }
        }
        return writer.bytes
    }

    /// The one action of a filter: struct tc_gen, then what to do and where.
    private static func mirred(_ options: inout MessageWriter, verdict: UInt32, operation: UInt32, _ link: Int32) {
        var parameters = MessageWriter()
        for field in [0, 0, verdict, 0, 0, operation, UInt32(bitPattern: link)] { parameters.put(field) }
        options.nested(7) { actions in
            actions.nested(1) { action in
                action.attribute(1, "mirred")
                action.nested(2) { $0.attribute(2, parameters.bytes) }
            }
        }
    }
}

enum TrafficControl {
    /// struct tcmsg.
    static func header(_ link: Int32, handle: UInt32, parent: UInt32, info: UInt32 = 0) -> MessageWriter {
        var writer = MessageWriter()
        writer.put(UInt32(0))
        writer.put(link)
        writer.put(handle)
        writer.put(parent)
        writer.put(info)
        return writer
    }

    /// TC_H_INGRESS and the handle that its queueing discipline has.
    static func ingress(_ link: Int32) -> [UInt8] {
        var writer = header(link, handle: 0xffff_0000, parent: 0xffff_fff1)
        writer.attribute(1, "ingress")
        return writer.bytes
    }
}
