/// Limits on the answers that a client accepts. Sizes are in bytes.
package struct ReplyLimits: Sendable {
    package enum Name: Sendable { case reply, largeCalls, errorText }

    /// Longest reply of a method that is not large.
    package var ordinary: Int
    /// Longest reply of a method; a method with a longer one than `ordinary` is large.
    package var reply: @Sendable (_ method: String) -> Int
    /// Calls of large methods under way at a time: their replies are in memory together. Further ones wait for their turn.
    package var largeCalls: Int
    /// Longest text of an error; the rest is cut.
    package var errorText: Int
    /// Called each time that a limit is reached, with the name of the call.
    package var reached: @Sendable (_ limit: Name, _ call: String) -> Void

    package init(
        ordinary: Int, reply: @escaping @Sendable (_ method: String) -> Int, largeCalls: Int, errorText: Int,
        reached: @escaping @Sendable (_ limit: Name, _ call: String) -> Void = { _, _ in }
    ) {
        (self.ordinary, self.reply, self.largeCalls) = (ordinary, reply, largeCalls)
        (self.errorText, self.reached) = (errorText, reached)
    }

    /// The limits for a server on the host.
    package static let standard = ReplyLimits(
        ordinary: Frame.maximumLength, reply: { _ in Frame.maximumLength }, largeCalls: .max, errorText: 64 << 10)
}
