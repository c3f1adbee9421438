import OCISpec

/// Capabilities by name, one bit each (capabilities(7)); the bit is the kernel's number.
package enum Capability {
    /// The set of `names` as bits; the host has warned of unknown ones.
    static func mask(_ names: [String]?) -> UInt64 {
        (names ?? []).reduce(0) { mask, name in
            mask
                | (KernelNames.number(of: name, prefix: "CAP_", in: KernelNames.capabilities).map { 1 << UInt64($0) }
                    ?? 0)
        }
    }
}

/// A field of the specification that can't be done.
package struct PlanError: Error, Equatable, CustomStringConvertible {
    package let field: String
    package let reason: String

    package init(_ field: String, _ reason: String) {
        self.field = field
        self.reason = reason
    }

    package var description: String { "\(field): \(reason)" }
}
