/// A failure of a command, in one line for its user.
package struct RuntimeError: Error, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}
