import LinuxKernel

/// Ids of sandboxes, containers and execs. They become parts of paths on the host and in the guest.
package enum Identifier {
    /// containerd's maximum (identifiers.Validate). Longer ids would make socket paths too long for an address
    /// (unix(7)).
    package static let maxLength = 76

    /// Checks that an id is a letter or a digit, then letters, digits and `_ . + -` (runc's characters; containerd has
    /// no `+`).
    /// - Parameter what: the id's name in errors, such as "container id".
    /// - Throws: `IdentifierError` for an id that is empty, longer than `maxLength`, or has another character.
    package static func check(_ id: String, _ what: String) throws(IdentifierError) {
        guard !id.isEmpty else { throw IdentifierError("\(what) is empty") }
        guard id.utf8.count <= maxLength else {
            throw IdentifierError("\(what) of \(id.utf8.count) bytes is longer than \(maxLength): choose a shorter one")
        }
        func isAlphanumeric(_ byte: UInt8) -> Bool {
            (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
        }
        guard let first = id.utf8.first, isAlphanumeric(first),
            id.utf8.allSatisfy({ isAlphanumeric($0) || [0x5f, 0x2b, 0x2d, 0x2e].contains($0) })
        else {
            throw IdentifierError(
                "invalid \(what) \"\(id.printable())\": a letter or digit first, then letters, digits, and _ + - . only"
            )
        }
    }
}

/// The reason why a text is no id, in one line.
package struct IdentifierError: Error, Equatable, CustomStringConvertible {
    package let description: String
    init(_ description: String) { self.description = description }
}
