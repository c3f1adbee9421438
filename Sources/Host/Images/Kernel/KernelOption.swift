/// An option that a guest's kernel should have: a line of guest.config, which is part of this program.
package struct KernelOption: Sendable, Equatable {
    /// The importance of an option.
    package enum Rank: String, Sendable {
        /// Without it a guest doesn't boot, or no container runs.
        case essential
        /// Without it the feature in its reason doesn't work.
        case feature
        /// Set in this project's own kernel; no other kernel needs it.
        case own
    }

    /// Such as `CONFIG_PVH`.
    package let name: String
    /// As Kconfig writes it: `y`, `64`, `"-kata"`; nil for "is not set".
    package let value: String?
    package let rank: Rank
    package let reason: String

    /// The line for Kconfig.
    package var line: String { value.map { "\(name)=\($0)" } ?? "# \(name) is not set" }

    /// All options in the order of guest.config.
    package static let all: [KernelOption] = {
        // A test reads the embedded file, so a wrong line fails there.
        do {
            return try parse(String(decoding: PackageResources.guest_config, as: UTF8.self), file: "guest.config")
        } catch { fatalError("\(error)") }
    }()

    /// Parses the text of guest.config.
    /// - Throws: `ImageError` for a line without rank and reason, and for a duplicate name.
    package static func parse(_ text: String, file: String) throws(ImageError) -> [KernelOption] {
        var options: [KernelOption] = []
        var names: Set<String> = []
        for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            guard let option = try KernelOption(line, place: "\(file):\(index + 1)") else { continue }
            guard names.insert(option.name).inserted else {
                throw ImageError("\(file):\(index + 1): \(option.name) is there twice")
            }
            options.append(option)
        }
        return options
    }

    /// Parses a line; nil for an empty one or a comment.
    private init?(_ line: Substring, place: String) throws(ImageError) {
        let notSet = " is not set"
        let (body, comment): (Substring, Substring)
        if line.hasPrefix("# CONFIG_") {
            let parts = line.dropFirst(2).split(separator: "#", maxSplits: 1)
            let words = parts[0].split(separator: " ")
            guard words.dropFirst().joined(separator: " ") == notSet.dropFirst() else { return nil }
            (body, comment) = (words[0], parts.count == 2 ? parts[1] : "")
            value = nil
            name = String(body)
        } else if line.hasPrefix("CONFIG_"), let equals = line.firstIndex(of: "=") {
            // A quoted value may hold a number sign.
            let rest = line[line.index(after: equals)...]
            let end = rest.firstIndex(of: rest.hasPrefix("\"") ? "\"" : " ")
            let quoted = rest.hasPrefix("\"") ? rest.dropFirst().firstIndex(of: "\"").map(rest.index(after:)) : end
            value = String(rest[..<(quoted ?? rest.endIndex)])
            name = String(line[..<equals])
            comment = rest[(quoted ?? rest.endIndex)...].split(separator: "#", maxSplits: 1).last ?? ""
        } else {
            let isComment = line.hasPrefix("#") || line.allSatisfy { $0 == " " }
            guard isComment else { throw ImageError("\(place): neither CONFIG_NAME=value nor a comment") }
            return nil
        }
        let words = comment.split(separator: ":", maxSplits: 1).map { $0.drop { $0 == " " } }
        guard words.count == 2, let rank = Rank(rawValue: String(words[0])), !words[1].isEmpty else {
            throw ImageError("\(place): \(name) has no rank and reason (\"# feature: what won't work without it\")")
        }
        self.rank = rank
        reason = String(words[1])
    }
}
