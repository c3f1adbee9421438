import Logging
import Synchronization

/// The messages of a log and their metadata.
package final class LogLines: Sendable {
    private let lines = Mutex<[String]>([])
    package init() {}
    package var all: [String] { lines.withLock { $0 } }
    package func add(_ line: String) { lines.withLock { $0.append(line) } }
}

/// A log handler that keeps the lines for a test.
package struct CollectedLog: LogHandler {
    private let lines: LogLines
    package var metadata: Logger.Metadata = [:]
    package var logLevel = Logger.Level.info
    package init(lines: LogLines) { self.lines = lines }
    package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }
    package func log(event: LogEvent) {
        let metadata = (event.metadata ?? [:]).sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        lines.add(([event.message.description] + metadata).joined(separator: " "))
    }
}
