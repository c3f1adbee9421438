/// A size as runc's options write it: `1073741824`, `512m`, `-1`.
package enum ByteSize {
    /// - Parameter option: the option's name, for errors.
    /// - Returns: bytes; -1 for no limit.
    /// - Throws: `RuntimeError` for a text that is no size, or one beyond 63 bits.
    package static func parse(_ text: String, _ option: String) throws(RuntimeError) -> Int64 {
        let units: [Character: Int64] = ["k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40]
        var digits = Substring(text.lowercased())
        if digits.last == "b" { digits = digits.dropLast() }
        let unit = digits.last.flatMap { units[$0] }
        guard let number = Int64(unit == nil ? digits : digits.dropLast()), number >= -1 else {
            throw RuntimeError("\(option): \"\(text)\" is no size such as 1073741824, 512m or -1")
        }
        let (bytes, overflow) = number.multipliedReportingOverflow(by: unit ?? 1)
        guard !overflow else { throw RuntimeError("\(option): \"\(text)\" is more than any machine has") }
        return number < 0 ? -1 : bytes
    }
}
