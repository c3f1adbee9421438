/// A list of processors or memory nodes such as `0-3,7` (cpuset(7), "List format").
package struct CPUList: Sendable, Equatable {
    package let numbers: Set<Int>

    /// The numbers are below this: NR_CPUS of the largest kernels.
    package static let limit = 8192

    /// - Returns: nil when the text is not such a list. An empty text is an empty list.
    package init?(_ text: String) {
        var numbers: Set<Int> = []
        for part in text.split(separator: ",", omittingEmptySubsequences: text.isEmpty) {
            let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
            guard ends.count <= 2, let first = ends[0], let last = ends.last ?? nil,
                0 <= first, first <= last, last < Self.limit
            else { return nil }
            numbers.formUnion(first...last)
        }
        self.numbers = numbers
    }

    /// The text for a set of numbers.
    package static func text(_ numbers: Set<Int>) -> String { numbers.sorted().map(String.init).joined(separator: ",") }

    package var count: Int { numbers.count }
    package var sorted: [Int] { numbers.sorted() }
}
