import Glibc

/// A process's resource limits (getrlimit(2)), by their numbers.
package struct ResourceLimits: Equatable, Sendable {
    package struct Limit: Equatable, Sendable {
        package let soft: UInt64
        package let hard: UInt64

        package init(soft: UInt64, hard: UInt64) { (self.soft, self.hard) = (soft, hard) }
    }

    /// RLIM_NLIMITS (asm-generic/resource.h).
    package static let count = 16

    /// A limit for each number.
    package let values: [Limit]

    /// The limits that this process was started with.
    package static let inherited = ResourceLimits()

    /// Reads the limits of this process.
    private init() {
        values = (0..<Self.count).map { number in
            var limit = rlimit()
            // SAFETY: the call fills the structure.
            _ = unsafe getrlimit(__rlimit_resource_t(UInt32(number)), &limit)
            return Limit(soft: UInt64(limit.rlim_cur), hard: UInt64(limit.rlim_max))
        }
    }

    // MARK: Between processes

    /// `soft:hard` for each number, separated by commas.
    package var text: String { values.map { "\($0.soft):\($0.hard)" }.joined(separator: ",") }

    /// - Returns: nil for anything but the text of all limits.
    package init?(_ text: String) {
        let parsed = text.split(separator: ",").map { pair -> Limit? in
            let numbers = pair.split(separator: ":", omittingEmptySubsequences: false).map { UInt64($0) }
            guard numbers.count == 2, let soft = numbers[0], let hard = numbers[1], soft <= hard else { return nil }
            return Limit(soft: soft, hard: hard)
        }
        let values = parsed.compactMap { $0 }
        guard values.count == Self.count, parsed.count == Self.count else { return nil }
        self.values = values
    }
}
