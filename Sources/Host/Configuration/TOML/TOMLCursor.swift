/// A position in a document, and the rules for blanks, comments and newlines.
struct TOMLCursor {
    let bytes: [UInt8]
    var index = 0
    private(set) var line = 1

    private static let byteOrderMark: [UInt8] = [0xef, 0xbb, 0xbf]

    /// - Throws: for bytes that are not UTF-8, with the line of the first.
    init(_ bytes: [UInt8]) throws(TOML.Failure) {
        self.bytes = bytes
        if let line = Self.lineOfBadUTF8(bytes) { throw TOML.Failure(line: line, reason: "not UTF-8") }
        if bytes.starts(with: Self.byteOrderMark) { index = Self.byteOrderMark.count }
    }

    private static func lineOfBadUTF8(_ bytes: [UInt8]) -> Int? {
        if String(validating: bytes, as: UTF8.self) != nil { return nil }
        // No newline byte is part of a longer UTF-8 sequence, so each line can be checked alone.
        let lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        return (lines.firstIndex { String(validating: $0, as: UTF8.self) == nil } ?? 0) + 1
    }

    var next: UInt8? { index < bytes.count ? bytes[index] : nil }

    func failure(_ reason: String) -> TOML.Failure { TOML.Failure(line: line, reason: reason) }

    /// Skips the text if it is next.
    mutating func take(_ text: String) -> Bool {
        guard bytes[index...].starts(with: text.utf8) else { return false }
        index += text.utf8.count
        return true
    }

    mutating func newline() -> Bool {
        guard take("\n") || take("\r\n") else { return false }
        line += 1
        return true
    }

    mutating func blanks() { while next == UInt8(ascii: " ") || next == UInt8(ascii: "\t") { index += 1 } }

    /// Skips blanks and a comment, up to the line's end.
    mutating func comment() throws(TOML.Failure) {
        blanks()
        guard next == UInt8(ascii: "#") else { return }
        while next != nil, next != UInt8(ascii: "\n"), !bytes[index...].starts(with: "\r\n".utf8) { try character() }
    }

    /// Skips blanks, comments and newlines.
    mutating func gap() throws(TOML.Failure) {
        repeat { try comment() } while newline()
    }

    mutating func lineEnd() throws(TOML.Failure) {
        try comment()
        guard next == nil || newline() else { throw failure("more than one value, or something behind it") }
    }

    /// Skips a byte that comments and strings may have: no control character but a tab.
    mutating func character() throws(TOML.Failure) {
        guard let byte = next, byte >= 0x20 && byte != 0x7f || byte == UInt8(ascii: "\t") else {
            throw failure("a control character, or a text that does not end")
        }
        index += 1
    }

    /// Skips letters, digits, "-", "_" and the given bytes.
    /// - Returns: what was skipped.
    mutating func word(and others: String = "") -> String {
        let start = index
        while let byte = next, Self.isWord(byte) || others.utf8.contains(byte) { index += 1 }
        return String(decoding: bytes[start..<index], as: UTF8.self)
    }

    private static func isWord(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "-"), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
