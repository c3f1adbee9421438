import OCISpec

/// Sets of capabilities as the kernel has them: bit n for the capability of number n (capabilities(7)).
package enum Capability {
    /// The bits of `names`. Unknown names are left out: the host has warned of them.
    static func mask(_ names: [String]?) -> UInt64 {
        (names ?? []).reduce(0) { mask, name in
            mask
                | (KernelNames.number(of: name, prefix: "CAP_", in: KernelNames.capabilities).map { 1 << UInt64($0) }
                    ?? 0)
        }
    }
}
