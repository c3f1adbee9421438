/// Checks of a JSON document before it is decoded.
enum JSONBounds {
    /// How deep lists and objects may be nested. The specification's own documents have seven levels; a decoder that calls itself for
    /// each level needs some 5 KiB a level without optimisation, and `startThread` gives 256 KiB.
    static let depth = 32

    static func check(_ json: [UInt8], source: String) throws(SpecError) {
        // Decoders take UTF-16 and UTF-32 too, where a byte is no character: brackets could not be counted (RFC 8259, 8.1).
        guard !json.contains(0) else { throw SpecError(source, "", "not valid JSON: not in UTF-8") }
        guard levels(json) <= depth else {
            throw SpecError(source, "", "lists and objects are nested more than \(depth) levels deep")
        }
    }

    /// The largest number of lists and objects that are open at once, whether the text is valid or not.
    static func levels(_ json: [UInt8]) -> Int {
        var (open, most) = (0, 0)
        var (inText, escaped) = (false, false)
        for byte in json {
            switch (inText, byte) {
            case (true, _) where escaped: escaped = false
            case (true, UInt8(ascii: "\\")): escaped = true
            case (_, UInt8(ascii: "\"")): inText.toggle()
            case (false, UInt8(ascii: "[")), (false, UInt8(ascii: "{")):
                open += 1
                most = max(most, open)
            case (false, UInt8(ascii: "]")), (false, UInt8(ascii: "}")): open -= 1
            default: break
            }
        }
        return most
    }
}
