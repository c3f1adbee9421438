import LinuxKernel
import Logging
import Synchronization

/// A log whose messages are one line each. Metadata may be text of guests and of helper programs.
struct PrintableLog: LogHandler {
    private var handler: any LogHandler
    private let level = SharedLevel()
    /// Maximum length of one text, in bytes.
    private static let maxLength = 8 << 10

    init(_ handler: any LogHandler) { self.handler = handler }

    /// The level of all copies: a configuration that a manager names in Create turns debug lines on everywhere.
    var logLevel: Logger.Level {
        get { level.value.withLock { $0 } }
        nonmutating set { level.value.withLock { $0 = newValue } }
    }

    private final class SharedLevel: Sendable {
        let value = Mutex(Logger.Level.info)
    }

    var metadata: Logger.Metadata {
        get { handler.metadata }
        set { handler.metadata = Self.printable(newValue) }
    }
    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { handler[metadataKey: key] }
        set { handler[metadataKey: key] = newValue.map(Self.printable) }
    }

    func log(event: LogEvent) {
        var event = event
        event.message = "\(event.message.description.printable(limit: Self.maxLength))"
        event.metadata = event.metadata.map(Self.printable)
        handler.log(event: event)
    }

    private static func printable(_ metadata: Logger.Metadata) -> Logger.Metadata { metadata.mapValues(printable) }

    private static func printable(_ value: Logger.MetadataValue) -> Logger.MetadataValue {
        switch value {
        case .string(let text): .string(text.printable(limit: maxLength))
        case .stringConvertible(let value): .string(value.description.printable(limit: maxLength))
        case .array(let values): .array(values.map(printable))
        case .dictionary(let values): .dictionary(printable(values))
        }
    }
}
