/// A time as Go's time package writes it: `500ms`, `5s`, `1m`.
package enum Interval {
    /// In microseconds: usleep(3) takes no more.
    private static let limit = 4e9

    /// Parses a time, which is more than 0 and below 4,000 seconds.
    /// - Throws: `RuntimeError` for any other text.
    package static func parse(_ text: String) throws(RuntimeError) -> Duration {
        let units: [(String, Double)] = [("ms", 1e3), ("s", 1e6), ("m", 60e6), ("h", 3600e6)]
        for (unit, microseconds) in units where text.hasSuffix(unit) {
            if let number = Double(text.dropLast(unit.count)), number > 0, number * microseconds < limit {
                return .microseconds(Int64(number * microseconds))
            }
        }
        throw RuntimeError("--interval: \"\(text)\" is no time such as 500ms, 5s or 1m")
    }
}
