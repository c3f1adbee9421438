/// Checks of a JSON document before it is decoded.
enum JSONBounds {
    /// The deepest nesting of lists and objects. Specifications have seven levels. An unoptimised recursive decoder
    /// takes some 5 KiB of stack a level, and `startThread` gives 256 KiB.
    static let depth = 32

    static func check(_ json: [UInt8], source: String) throws(SpecError) {
        // Decoders accept UTF-16 and UTF-32 too, where brackets can't be counted byte by byte (RFC 8259, 8.1).
        guard !json.contains(0) else { throw SpecError(source, "", "not valid JSON: not in UTF-8") }
        guard levels(json) <= depth else {
            throw SpecError(source, "", "lists and objects are nested more than \(depth) levels deep")
        }
    }

    /// The largest number of lists and objects that are open at once, whether the text is valid or not.
    static func levels(_ json: [UInt8]) -> Int {
        var (open, deepest) = (0, 0)
        var (inText, escaped) = (false, false)
        for byte in json {
            switch (inText, byte) {
            case (true, _) where escaped: escaped = false
            case (true, UInt8(ascii: "\\")): escaped = true
            case (_, UInt8(ascii: "\"")): inText.toggle()
            case (false, UInt8(ascii: "[")), (false, UInt8(ascii: "{")):
                open += 1
                deepest = max(deepest, open)
            case (false, UInt8(ascii: "]")), (false, UInt8(ascii: "}")): open -= 1
            default: break
            }
        }
        return deepest
    }
}
