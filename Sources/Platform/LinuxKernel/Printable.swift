extension StringProtocol {
    /// Makes text of a guest or another process safe for a terminal, a log line or an error message.
    ///
    /// Replaces by a space each character that controls a terminal (ECMA-48: C0, DEL and C1) or ends a line. Also those
    /// that change the direction of text (Unicode, UAX #9).
    /// - Parameters:
    ///   - limit: maximum size in bytes of UTF-8; longer text is cut and ends with "…".
    ///   - keepsLines: keeps line feeds and tabs, for output of several lines.
    package func printable(limit: Int = .max, keepsLines: Bool = false) -> String {
        var result = ""
        var length = 0
        for scalar in unicodeScalars {
            let shown = scalar.isPrintable || keepsLines && (scalar == "\n" || scalar == "\t") ? scalar : " "
            length += UTF8.width(shown)
            if length > limit { return result + "…" }
            result.unicodeScalars.append(shown)
        }
        return result
    }
}

extension Unicode.Scalar {
    fileprivate var isPrintable: Bool {
        switch value {
        case 0..<0x20, 0x7f...0x9f: false
        // Line and paragraph separators; direction marks, embeddings, overrides and isolates.
        case 0x2028, 0x2029, 0x61c, 0x200e, 0x200f, 0x202a...0x202e, 0x2066...0x2069: false
        default: true
        }
    }
}
