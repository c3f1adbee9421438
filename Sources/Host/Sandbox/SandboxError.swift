/// The reason why a sandbox or a container in it could not do what was asked: one line for a person.
package struct SandboxError: Error, CustomStringConvertible {
    package enum Kind: Sendable { case notFound, alreadyExists, wrongState, invalid, guest, host }

    package let kind: Kind
    package let description: String

    package init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}
