extension StringProtocol {
    /// Whether the text contains `words`, byte for byte.
    ///
    /// Not named `contains`: in a module that imports Foundation anywhere, that name links Foundation's version and 40
    /// MB with it.
    package func mentions(_ words: some StringProtocol) -> Bool {
        let (text, words) = (Array(utf8), Array(words.utf8))
        guard words.count <= text.count else { return false }
        return (0...(text.count - words.count)).contains { text[$0...].starts(with: words) }
    }

    /// Replaces `words` everywhere by `other`. Differs from Foundation's name for the same reason.
    package func replacing(_ words: String, by other: String) -> String {
        let (text, words) = (Array(utf8), Array(words.utf8))
        guard !words.isEmpty else { return String(self) }
        var (result, rest) = ([UInt8](), text[...])
        while !rest.isEmpty {
            if rest.starts(with: words) {
                result += other.utf8
                rest = rest.dropFirst(words.count)
            } else {
                result.append(rest.removeFirst())
            }
        }
        return String(decoding: result, as: UTF8.self)
    }
}

extension [String] {
    /// Removes the kernel parameters (bootparam(7)) that have the names of `others`.
    package func without(namesOf others: [String]) -> [String] {
        func name(_ word: String) -> Substring { word.prefix { $0 != "=" } }
        let names = Set(others.map(name))
        return filter { !names.contains(name($0)) }
    }
}
