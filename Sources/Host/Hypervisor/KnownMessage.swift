import LinuxKernel

/// The meaning of one of several messages for the operator.
package struct KnownMessage: Sendable {
    package let texts: [String]
    /// The likely reason, and the remedy.
    package let cause: String

    /// - Parameter texts: parts of lines; any one matches.
    package init(_ texts: String..., means cause: String) { (self.texts, self.cause) = (texts, cause) }

    package func applies(to lines: [String]) -> Bool {
        lines.contains { line in texts.contains { line.mentions($0) } }
    }
}
