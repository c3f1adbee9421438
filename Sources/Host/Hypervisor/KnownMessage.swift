import LinuxKernel

/// What one of several messages means for the operator.
package struct KnownMessage: Sendable {
    package let texts: [String]
    /// The likely reason, and what to do.
    package let cause: String

    /// - Parameter texts: parts of lines, any of which is enough.
    package init(_ texts: String..., means cause: String) { (self.texts, self.cause) = (texts, cause) }

    package func applies(to lines: [String]) -> Bool {
        lines.contains { line in texts.contains { line.mentions($0) } }
    }
}
