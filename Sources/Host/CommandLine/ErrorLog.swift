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
    }
    private let target = Mutex(Target())

    /// - Parameter path: the log file; nil: none.
    package func configure(path: String?, json: Bool) {
        target.withLock { ($0.path, $0.json) = (path, json) }
    }

    /// Turns debug lines on (`--debug`, `runtime.enable_debug`).
    package func enableDebug() { target.withLock { $0.isDebug = true } }

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

    /// Writes a line to the log file only: managers print standard error.
    func debug(_ message: String) {
        if target.withLock({ $0.isDebug }) { append("debug", message) }
    }

    package func report(_ message: String) { write("error", message, forUser: message) }

    private func write(_ level: String, _ message: String, forUser text: String) {
        writeError(text.printable(keepsLines: true))
        append(level, message)
    }

    private func append(_ level: String, _ message: String) {
        let target = target.withLock { $0 }
        guard let path = target.path,
            let file = try? FileDescriptor.open(path, O_WRONLY | O_CREAT | O_APPEND, mode: 0o640)
        else { return }
        let stamp = Self.now()
        let line: String
        if target.json {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            let bytes = try? encoder.encode(Line(level: level, msg: message.printable(), time: stamp))
            line = bytes.map { String(decoding: $0, as: UTF8.self) } ?? ""
        } else {
            line = "time=\"\(stamp)\" level=\(level) msg=\(Self.quoted(message))"
        }
        try? file.writeAll(Array((line + "\n").utf8), to: path)
    }
}
