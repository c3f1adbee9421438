import Glibc
import LinuxKernel

/// The kind of host file that a key's value names.
package enum HostFile: Sendable {
    case program, file, device
    /// Created by the runtime.
    case directory, socket

    /// The reason why a file is not of this kind; nil if it is.
    /// - Parameter path: without symbolic links.
    func refusal(of path: String) -> String? {
        // SAFETY: access(2) only reads the path.
        switch (self, Files.kind(of: path)) {
        case (_, nil): "no such file"
        case (.program, .file): unsafe access(path, X_OK) == 0 ? nil : "not executable"
        case (.file, .file), (.device, .characterDevice), (.directory, .directory), (.socket, .socket): nil
        case (.program, _), (.file, _): "no regular file"
        case (.device, _): "no device"
        case (.directory, _): "no directory"
        case (.socket, _): "no socket"
        }
    }
}

/// The patterns of a key such as `valid_kernel_paths` (glob(7); "*" does not match "/").
struct PathList {
    let patterns: [String]

    /// Resolves a path, and matches the result with the patterns.
    ///
    /// Symbolic links in a pattern's directories before the first wildcard are followed too.
    /// - Returns: the path without links and ".."; nil if no pattern matches it.
    func admitted(_ path: String) -> String? {
        guard path.hasPrefix("/"), path.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else { return nil }
        // A missing file is matched by name: the answer must not reveal which files exist.
        let real = Files.real(path) ?? Files.absolute(path)
        // SAFETY: fnmatch(3) only reads its texts.
        return patterns.contains { unsafe fnmatch(Self.resolved($0), real, FNM_PATHNAME) == 0 } ? real : nil
    }

    private static func resolved(_ pattern: String) -> String {
        let names = pattern.split(separator: "/")
        let literal = names.prefix { !$0.contains { "*?[\\".contains($0) } }
        let directory = "/" + literal.joined(separator: "/")
        let real = Files.real(directory) ?? directory
        let escaped = real.reduce(into: "") { $0 += "*?[\\".contains($1) ? "\\\($1)" : "\($1)" }
        let rest = names.dropFirst(literal.count).map { "/" + $0 }.joined()
        return (real == "/" && !rest.isEmpty ? "" : escaped) + rest
    }
}
