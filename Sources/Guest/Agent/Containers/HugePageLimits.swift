import Container

extension ContainerPlan {
    /// The limits of huge pages in bytes, by page size: `2MB`.
    var hugePages: [String: UInt64] {
        var limits: [String: UInt64] = [:]
        for limit in self.limits where limit.path.hasPrefix("hugetlb.") && limit.path.hasSuffix(".max") {
            let size = limit.path.dropFirst("hugetlb.".count).dropLast(".max".count)
            // A number that is no sum of memory (the largest one, say) reserves nothing.
            if let bytes = UInt64(limit.value), bytes < Self.noLimit { limits[String(size)] = bytes }
        }
        return limits
    }

    private static let noLimit: UInt64 = 1 << 50
}
