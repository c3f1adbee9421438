/// Integers and floats.
enum TOMLNumber {
    /// - Returns: nil for a word that is no number, and for an integer of more than 64 bits.
    static func value(_ word: String) -> TOML.Value? {
        switch word {
        case "inf", "+inf": .float(.infinity)
        case "-inf": .float(-.infinity)
        case "nan", "+nan", "-nan": .float(.nan)
        default: integer(word).map { .integer($0) } ?? float(word).map { .float($0) }
        }
    }

    private static func integer(_ word: String) -> Int64? {
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] where word.hasPrefix(prefix) {
            return digits(word.dropFirst(prefix.count)).flatMap { Int64($0, radix: radix) }
        }
        let (sign, figures) = split(word)
        guard isDecimal(figures), hasNoLeadingZero(figures), let plain = digits(figures) else { return nil }
        return Int64(sign + plain)
    }

    private static func float(_ word: String) -> Double? {
        let parts = split(word).figures.split(maxSplits: 1, omittingEmptySubsequences: false) {
            $0 == "e" || $0 == "E"
        }
        let mantissa = parts[0].split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard hasNoLeadingZero(mantissa[0]), parts.count == 2 || mantissa.count == 2 else { return nil }
        let exponent = parts.dropFirst().map { split(String($0)).figures }
        guard (mantissa + exponent).allSatisfy({ isDecimal($0) && digits($0) != nil }) else { return nil }
        return Double(word.filter { $0 != "_" })
    }

    private static func split(_ word: String) -> (sign: String, figures: Substring) {
        let isSigned = word.hasPrefix("+") || word.hasPrefix("-")
        return (word.hasPrefix("-") ? "-" : "", isSigned ? word.dropFirst() : word[...])
    }

    private static func isDecimal(_ figures: Substring) -> Bool {
        figures.allSatisfy { ("0"..."9").contains($0) || $0 == "_" }
    }

    private static func hasNoLeadingZero(_ figures: Substring) -> Bool { figures.count == 1 || !figures.hasPrefix("0") }

    /// The digits without underscores. An underscore must have a digit on both sides.
    private static func digits(_ figures: Substring) -> String? {
        let parts = figures.split(separator: "_", omittingEmptySubsequences: false)
        return parts.allSatisfy { !$0.isEmpty && $0.first != "-" && $0.first != "+" } ? parts.joined() : nil
    }
}
