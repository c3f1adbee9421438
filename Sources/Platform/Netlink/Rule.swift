import Glibc

/// A rule that chooses a routing table (ip-rule(8), RTM_NEWRULE).
///
/// Its selectors are kept as the kernel gives them, so that one which this code doesn't know is followed too. They name
/// links, not indices.
package struct Rule: Hashable, Sendable {
    package var isIPv6: Bool
    /// Lengths of the prefixes in `attributes`.
    package var destinationLength: UInt8
    package var sourceLength: UInt8
    package var typeOfService: UInt8
    /// FR_ACT_*: look in a table, go to another rule, drop.
    package var action: UInt8
    /// Whether the rule is for packets that don't match.
    package var isInverted: Bool
    /// Bytes by FRA_*.
    package var attributes: [UInt16: [UInt8]]

    package init(
        isIPv6: Bool, destinationLength: UInt8, sourceLength: UInt8, typeOfService: UInt8, action: UInt8,
        isInverted: Bool, attributes: [UInt16: [UInt8]]
    ) {
        (self.isIPv6, self.destinationLength, self.sourceLength) = (isIPv6, destinationLength, sourceLength)
        (self.typeOfService, self.action, self.isInverted) = (typeOfService, action, isInverted)
        self.attributes = attributes
    }

    /// Makes a rule that has all packets looked up in a table.
    package init(isIPv6: Bool, priority: UInt32, table: UInt32) {
        self.init(
            isIPv6: isIPv6, destinationLength: 0, sourceLength: 0, typeOfService: 0, action: RuleValue.lookUp,
            isInverted: false, attributes: [:])
        attributes[RuleAttribute.priority] = Self.bytes(priority)
        attributes[RuleAttribute.table] = Self.bytes(table)
        attributes[RuleAttribute.suppressedPrefixLength] = Self.bytes(RuleValue.suppressesNone)
        attributes[RuleAttribute.protocol] = [RouteProtocol.kernel]
    }

    /// The rules of a new network namespace. IPv6 has no table `default`.
    package static let defaults =
        [false, true].flatMap { isIPv6 in
            [
                Rule(isIPv6: isIPv6, priority: RuleValue.localPriority, table: RouteValue.localTable),
                Rule(isIPv6: isIPv6, priority: RuleValue.mainPriority, table: RouteValue.mainTable),
            ]
        } + [Rule(isIPv6: false, priority: RuleValue.defaultPriority, table: RouteValue.defaultTable)]

    /// The rules that hold where the kernel lists some: of a family that it lists none of, the default ones. A kernel
    /// without rules looks in the tables that these name.
    package static func inForce(_ listed: [Rule]) -> [Rule] {
        [false, true].flatMap { isIPv6 in
            let own = listed.filter { $0.isIPv6 == isIPv6 }
            return own.isEmpty ? defaults.filter { $0.isIPv6 == isIPv6 } : own
        }
    }

    package var priority: UInt32 { number(RuleAttribute.priority) ?? 0 }

    private func number(_ type: UInt16) -> UInt32? {
        attributes[type].flatMap { $0.count >= 4 ? $0[...].number(at: 0, as: UInt32.self) : nil }
    }

    private static func bytes(_ number: UInt32) -> [UInt8] {
        var writer = MessageWriter()
        writer.put(number)
        return writer.bytes
    }

    // MARK: The wire

    /// Size of struct fib_rule_hdr.
    static let headerSize = 12

    init?(_ payload: [UInt8]) {
        guard payload.count >= Self.headerSize, [UInt8(AF_INET), UInt8(AF_INET6)].contains(payload[0]) else {
            return nil
        }
        isIPv6 = payload[0] == UInt8(AF_INET6)
        (destinationLength, sourceLength, typeOfService) = (payload[1], payload[2], payload[3])
        action = payload[7]
        isInverted = payload[...].number(at: 8, as: UInt32.self) & RuleValue.inverted != 0
        attributes = Attributes(payload[Self.headerSize...]).all
        attributes[RuleAttribute.padding] = nil
        // The kernel leaves 0 out, but chooses a priority where a request has none.
        attributes[RuleAttribute.priority] = attributes[RuleAttribute.priority] ?? Self.bytes(0)
        attributes[RuleAttribute.table] = attributes[RuleAttribute.table] ?? Self.bytes(UInt32(payload[4]))
    }

    var payload: [UInt8] {
        var writer = MessageWriter()
        let family = UInt8(isIPv6 ? AF_INET6 : AF_INET)
        for field in [family, destinationLength, sourceLength, typeOfService, 0, 0, 0, action] { writer.put(field) }
        writer.put(isInverted ? RuleValue.inverted : 0)
        for (type, bytes) in attributes.sorted(by: { $0.key < $1.key }) { writer.attribute(type, bytes) }
        return writer.bytes
    }
}

extension Rule: CustomStringConvertible {
    /// The rule in the words of ip-rule(8), as far as needed to find it.
    package var description: String {
        func prefix(_ type: UInt16, _ length: UInt8) -> String {
            attributes[type].flatMap(InternetAddress.init(bytes:)).map { "\($0)/\(length)" } ?? "all"
        }
        var words = "\(priority): \(isInverted ? "not " : "")from \(prefix(RuleAttribute.source, sourceLength))"
        if destinationLength != 0 { words += " to \(prefix(RuleAttribute.destination, destinationLength))" }
        for (word, type) in [("iif", RuleAttribute.inputLink), ("oif", RuleAttribute.outputLink)] {
            if let name = attributes[type] {
                words += " \(word) \(String(decoding: name.prefix { $0 != 0 }, as: UTF8.self))"
            }
        }
        if let table = number(RuleAttribute.table), action == RuleValue.lookUp { words += " lookup \(table)" }
        return words + (isIPv6 ? " (IPv6)" : "")
    }
}
