import FoundationEssentials
import Glibc
import LinuxKernel
import Synchronization

/// Errors go to stderr for a person, and to the manager's log file when it named one.
final class ErrorLog: Sendable {
    static let shared = ErrorLog()

    private struct Target: Sendable {
        var path: String?
        var json = false
    }
    private let target = Mutex(Target())

    func configure(path: String?, json: Bool) { target.withLock { $0 = Target(path: path, json: json) } }

    private struct Line: Encodable {
        let level: String
        let msg: String
        let time: String
    }

    /// The time in RFC 3339.
    static func now() -> String {
        var now = time(nil)
        var parts = tm()
        gmtime_r(&now, &parts)
        var buffer = [CChar](repeating: 0, count: 64)
        strftime(&buffer, buffer.count, "%Y-%m-%dT%H:%M:%SZ", &parts)
        return buffer.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
    }

    /// One word of a text line: what is inside can't end it, nor begin another line.
    private static func quoted(_ message: String) -> String {
        "\"" + message.printable().replacing("\\", by: "\\\\").replacing("\"", by: "\\\"") + "\""
    }

    func warn(_ message: String) { write("warning", message, shown: "warning: " + message) }

    func report(_ message: String) { write("error", message, shown: message) }

    private func write(_ level: String, _ message: String, shown: String) {
        let target = target.withLock { $0 }
        writeError(shown.printable(keepsLines: true))
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
        _ = (line + "\n").withCString { Glibc.write(file.raw, $0, strlen($0)) }
    }
}
