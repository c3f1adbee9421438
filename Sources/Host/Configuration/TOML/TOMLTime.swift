/// A date, a time, or both (RFC 3339).
struct TOMLTime: Equatable {
    enum Kind: String {
        case dateTime = "datetime"
        case localDateTime = "datetime-local"
        case localDate = "date-local"
        case localTime = "time-local"
    }

    let kind: Kind
    let text: String

    /// - Parameter word: "T" and "Z" may be small letters, and a blank may stand for "T".
    /// - Returns: nil for a word that is no valid date or time.
    init?(_ word: String) {
        let word = word.uppercased()
        let parts = word.split(maxSplits: 1, omittingEmptySubsequences: false) { $0 == "T" || $0 == " " }
        if parts.count == 2 {
            let clock = parts[1].prefix { !"Z+-".contains($0) }
            let offset = parts[1].dropFirst(clock.count)
            guard Self.isDate(parts[0]), Self.isTime(clock), offset.isEmpty || Self.isOffset(offset) else { return nil }
            (kind, text) = (offset.isEmpty ? .localDateTime : .dateTime, parts.joined(separator: "T"))
        } else if Self.isDate(parts[0]) {
            (kind, text) = (.localDate, word)
        } else if Self.isTime(parts[0]) {
            (kind, text) = (.localTime, word)
        } else {
            return nil
        }
    }

    private static func isDate(_ text: Substring) -> Bool {
        guard let numbers = numbers(text, [4, 2, 2], separator: "-"), (1...12).contains(numbers[1]) else {
            return false
        }
        let isLeap = numbers[0] % 4 == 0 && (numbers[0] % 100 != 0 || numbers[0] % 400 == 0)
        let days = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][numbers[1] - 1]
        return (1...days).contains(numbers[2])
    }

    private static func isTime(_ text: Substring) -> Bool {
        let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard let numbers = numbers(parts[0], [2, 2, 2], separator: ":") else { return false }
        // RFC 3339 allows a leap second.
        let isInRange = numbers[0] < 24 && numbers[1] < 60 && numbers[2] <= 60
        return isInRange && (parts.count == 1 || !parts[1].isEmpty && parts[1].allSatisfy(isDigit))
    }

    private static func isOffset(_ text: Substring) -> Bool {
        if text == "Z" { return true }
        guard text.hasPrefix("+") || text.hasPrefix("-"),
            let numbers = numbers(text.dropFirst(), [2, 2], separator: ":")
        else { return false }
        return numbers[0] < 24 && numbers[1] < 60
    }

    private static func numbers(_ text: Substring, _ lengths: [Int], separator: Character) -> [Int]? {
        let parts = text.split(separator: separator, omittingEmptySubsequences: false)
        guard parts.map(\.count) == lengths, parts.allSatisfy({ $0.allSatisfy(isDigit) }) else { return nil }
        return parts.compactMap { Int($0) }
    }

    private static func isDigit(_ character: Character) -> Bool { ("0"..."9").contains(character) }
}
