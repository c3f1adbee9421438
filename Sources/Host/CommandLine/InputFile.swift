import FoundationEssentials
import Glibc
import LinuxKernel

/// A file that an option or argument names; `-` is standard input.
package enum InputFile {
    /// In bytes.
    private static let limit = 1 << 20

    /// Reads a file of at most 1 MiB.
    /// - Throws: `SystemError` for a file that can't be read, or is longer.
    package static func read(_ path: String) throws -> [UInt8] {
        guard path == "-" else {
            return try FileDescriptor.open(path, O_RDONLY).readAll(path, limit: limit)
        }
        return try FileDescriptor.duplicate(of: 0).readAll("standard input", limit: limit)
    }

    /// - Parameter expected: completes "not a JSON …" in the error.
    static func decode<Value: Decodable>(_ path: String, _ expected: String) throws -> Value {
        let bytes = try read(path)
        do { return try JSONDecoder().decode(Value.self, from: Data(bytes)) } catch {
            throw RuntimeError("\(path): not a JSON \(expected)")
        }
    }
}
