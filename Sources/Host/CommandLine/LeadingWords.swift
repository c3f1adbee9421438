/// The words of a command line up to its command, as runc has them.
package struct LeadingWords {
    /// The options before the command, without their values.
    package private(set) var options: [String] = []
    /// nil: there are options only.
    package private(set) var command: String?

    /// The options whose next word is their value.
    private static let valued = ["--root", "--log", "--log-format", "--kata-config", "--config", "--rootless"]

    /// - Parameter arguments: of the program, without its name.
    package init(_ arguments: some Sequence<String>) {
        var words = arguments.makeIterator()
        while let word = words.next() {
            guard word.hasPrefix("-") else {
                command = word
                return
            }
            options.append(word)
            if Self.valued.contains(word) { _ = words.next() }
        }
    }

    /// Whether `-v` asks for the version, for which `--version` is the long form.
    package var asksForVersion: Bool { options.contains("-v") }
}
