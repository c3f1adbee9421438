extension StringProtocol {
    /// Whether `words` stand somewhere in it, byte for byte.
    ///
    /// By another name than `contains`: that one is Foundation's where any file of the module imports it, and brings 40 MB along.
    package func mentions(_ words: some StringProtocol) -> Bool {
        let (text, words) = (Array(utf8), Array(words.utf8))
        guard words.count <= text.count else { return false }
        return (0...(text.count - words.count)).contains { text[$0...].starts(with: words) }
    }

    /// With `other` everywhere in the place of `words`, by another name than Foundation's too.
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
    /// Words for a kernel (bootparam(7)) but for those whose names others have.
    package func without(namesOf others: [String]) -> [String] {
        func name(_ word: String) -> Substring { word.prefix { $0 != "=" } }
        let names = Set(others.map(name))
        return filter { !names.contains(name($0)) }
    }
}
