import FoundationEssentials
import Glibc
import LinuxKernel
import Synchronization

/// Writes errors to standard error, and to the log file that the manager names (`--log`).
package final class ErrorLog: Sendable {
    package static let shared = ErrorLog()

    private struct Target: Sendable {
        var path: String?
        var json = false
        var isDebug = false
        var debugsToCaller = false
    }
    private let target = Mutex(Target())

    /// Makes the log file at once: managers read it after every command.
    /// - Parameter path: the log file; nil: none.
    /// - Throws: `SystemError` when the file can't be made or written.
    package func configure(path: String?, json: Bool) throws(SystemError) {
        if let path { _ = try Self.open(path) }
        target.withLock { ($0.path, $0.json) = (path, json) }
    }

    private static func open(_ path: String) throws(SystemError) -> FileDescriptor {
        try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_APPEND, mode: 0o640)
    }

    /// Turns debug lines on.
    /// - Parameter isAsked: by the caller (`--debug`) and not by configuration.toml. Without a log file, the lines go
    ///   to standard error then.
    package func enableDebug(isAsked: Bool = false) {
        target.withLock { ($0.isDebug, $0.debugsToCaller) = (true, $0.debugsToCaller || isAsked) }
    }

    private struct Line: Encodable {
        let level: String
        let msg: String
        let time: String
    }

    /// The time in RFC 3339.
    static func now() -> String {
        var now = time(nil)
        // SAFETY: `parts` begins as zeros; gmtime_r(3) fills it, and strftime(3) writes at most `buffer.count` bytes.
        var parts = unsafe tm()
        unsafe gmtime_r(&now, &parts)
        var buffer = [CChar](repeating: 0, count: 64)
        let count = unsafe strftime(&buffer, buffer.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
        return String(decoding: buffer.prefix(count).map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// Quotes a message, so that it is one word of one line.
    private static func quoted(_ message: String) -> String {
        "\"" + message.printable().replacing("\\", by: "\\\\").replacing("\"", by: "\\\"") + "\""
    }

    package func warn(_ message: String) { write("warning", message, forUser: "warning: " + message) }

    /// Writes a line to the log file: managers print standard error.
    package func debug(_ message: @autoclosure () -> String) {
        let target = target.withLock { $0 }
        guard target.isDebug else { return }
        if target.path != nil {
            append("debug", message())
        } else if target.debugsToCaller {
            writeError(line("debug", message(), json: target.json))
        }
    }

    package func report(_ message: String) { write("error", message, forUser: message) }

    private func write(_ level: String, _ message: String, forUser text: String) {
        writeError(text.printable(keepsLines: true))
        append(level, message)
    }

    private func append(_ level: String, _ message: String) {
        let target = target.withLock { $0 }
        guard let path = target.path, let file = try? Self.open(path) else { return }
        try? file.writeAll(Array((line(level, message, json: target.json) + "\n").utf8), to: path)
    }

    private func line(_ level: String, _ message: String, json: Bool) -> String {
        let stamp = Self.now()
        guard json else { return "time=\"\(stamp)\" level=\(level) msg=\(Self.quoted(message))" }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let bytes = try? encoder.encode(Line(level: level, msg: message.printable(), time: stamp))
        return bytes.map { String(decoding: $0, as: UTF8.self) } ?? ""
    }
}
