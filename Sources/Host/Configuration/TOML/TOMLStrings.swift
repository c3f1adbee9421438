/// Strings: basic ("…"), literal ('…'), and both with three quotes over several lines.
extension TOMLCursor {
    /// Reads a string that begins here, of any kind.
    mutating func string() throws(TOML.Failure) -> String {
        if take("\"\"\"") { return try multiline(quote: UInt8(ascii: "\"")) }
        if take("'''") { return try multiline(quote: UInt8(ascii: "'")) }
        return try line(quote: bytes[index])
    }

    /// Reads a string on one line; its quote is next.
    mutating func line(quote: UInt8) throws(TOML.Failure) -> String {
        index += 1
        var text: [UInt8] = []
        while let byte = next, byte != quote { try append(byte, quote, to: &text) }
        guard next == quote else { throw failure("text that does not end") }
        index += 1
        return String(decoding: text, as: UTF8.self)
    }

    /// Reads a string of several lines, behind its three quotes.
    private mutating func multiline(quote: UInt8) throws(TOML.Failure) -> String {
        _ = newline()
        var text: [UInt8] = []
        while let byte = next {
            if byte == quote, bytes[index...].prefix(3).elementsEqual([quote, quote, quote]) {
                index += 3
                // Up to two more quotes belong to the text.
                for _ in 0..<2 where next == quote {
                    text.append(quote)
                    index += 1
                }
                return String(decoding: text, as: UTF8.self)
            }
            if newline() {
                text.append(UInt8(ascii: "\n"))
            } else if byte != UInt8(ascii: "\\") || quote != UInt8(ascii: "\"") || !continuation() {
                try append(byte, quote, to: &text)
            }
        }
        throw failure("text that does not end")
    }

    private mutating func append(_ byte: UInt8, _ quote: UInt8, to text: inout [UInt8]) throws(TOML.Failure) {
        if byte == UInt8(ascii: "\\"), quote == UInt8(ascii: "\"") {
            text += try escape()
            return
        }
        try character()
        text.append(byte)
    }

    /// Skips a backslash at a line's end, and all blanks and newlines behind it.
    private mutating func continuation() -> Bool {
        var ahead = self
        ahead.index += 1
        ahead.blanks()
        guard ahead.newline() else { return false }
        repeat { ahead.blanks() } while ahead.newline()
        self = ahead
        return true
    }

    /// Reads a backslash and what follows it.
    /// - Returns: UTF-8.
    private mutating func escape() throws(TOML.Failure) -> [UInt8] {
        index += 1
        guard let letter = next else { throw failure("text that does not end") }
        index += 1
        switch letter {
        case UInt8(ascii: "b"): return [0x08]
        case UInt8(ascii: "t"): return [0x09]
        case UInt8(ascii: "n"): return [0x0a]
        case UInt8(ascii: "f"): return [0x0c]
        case UInt8(ascii: "r"): return [0x0d]
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): return [letter]
        case UInt8(ascii: "u"): return try scalar(digits: 4)
        case UInt8(ascii: "U"): return try scalar(digits: 8)
        default: throw failure("a backslash before something else than b t n f r u U \\ or a quote")
        }
    }

    private mutating func scalar(digits count: Int) throws(TOML.Failure) -> [UInt8] {
        let digits = bytes[index...].prefix(count).map { Character(Unicode.Scalar($0)) }
        guard digits.count == count, digits.allSatisfy({ $0.isASCII && $0.isHexDigit }),
            let scalar = UInt32(String(digits), radix: 16).flatMap(Unicode.Scalar.init)
        else { throw failure("a \\u that names no character") }
        index += count
        return Array(String(Character(scalar)).utf8)
    }
}
