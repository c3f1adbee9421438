import OCISpec

/// Capabilities by name, one bit each (capabilities(7)); the bit is the kernel's number.
package enum Capability {
    /// The set of `names` as bits.
    static func mask(_ given: [String]?, field: String) throws(PlanError) -> UInt64 {
        var mask: UInt64 = 0
        for name in given ?? [] {
            guard let bit = Vocabulary.number(of: name, prefix: "CAP_", in: Vocabulary.capabilities) else {
                throw PlanError(field, "unknown capability \"\(name)\"")
            }
            mask |= 1 << UInt64(bit)
        }
        return mask
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
