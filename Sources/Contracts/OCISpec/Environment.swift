/// Lists of `NAME=value`.
package enum Environment {
    /// Keeps the last value of each name, in its place, as runc does. A manager may write its defaults before an image's
    /// values, and a program reads the first of two (getenv(3)).
    package static func lastOfEach(_ variables: [String]) -> [String] {
        // Bytes, as strings of different bytes may be equal.
        var seen: Set<[UInt8]> = []
        let kept = variables.reversed().filter {
            seen.insert($0.utf8.prefix { $0 != UInt8(ascii: "=") }.map { $0 }).inserted
        }
        return kept.reversed()
    }
}
