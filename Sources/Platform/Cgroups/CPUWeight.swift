/// Converts CPU shares of cgroup version 1 to weights of version 2.
package enum CPUWeight {
    private static let shares: ClosedRange<UInt64> = 2...262_144
    private static let weights: ClosedRange<UInt64> = 1...10_000

    /// The weight for cpu.weight, as runc and crun compute it (libcontainer/cgroups/utils.go,
    /// ConvertCPUSharesToCgroupV2Value).
    /// - Parameter given: the value of `linux.resources.cpu.shares`; values out of range count as the nearest one.
    package static func weight(shares given: UInt64) -> UInt64 {
        let bounded = min(max(given, shares.lowerBound), shares.upperBound) - shares.lowerBound
        return weights.lowerBound
            + bounded * (weights.upperBound - weights.lowerBound) / (shares.upperBound - shares.lowerBound)
    }
}
