import Glibc
import LinuxKernel

/// A kind of file of the host that a key's value names.
package enum HostFile: Sendable {
    case program, file, device
    /// Made by the program itself.
    case directory, socket

    /// Why the file at a path without links is not of this kind; nil when it is.
    func refusal(of path: String) -> String? {
        switch (self, Files.kind(of: path)) {
        case (_, nil): "no such file"
        case (.program, .file): access(path, X_OK) == 0 ? nil : "not executable"
        case (.file, .file), (.device, .characterDevice), (.directory, .directory), (.socket, .socket): nil
        case (.program, _), (.file, _): "no regular file"
        case (.device, _): "no device"
        case (.directory, _): "no directory"
        case (.socket, _): "no socket"
        }
    }
}

/// The patterns of a key such as `valid_kernel_paths` (glob(7); "*" stands for no "/").
struct PathList {
    let patterns: [String]

    /// The path without links and "..", where a pattern matches that: what it is written as decides nothing.
    ///
    /// Links in a pattern's directories, up to the first wildcard, are the operator's and are followed.
    func admitted(_ path: String) -> String? {
        guard path.hasPrefix("/"), path.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else { return nil }
        // Of a file that is missing the name decides: the answer tells nobody which files the host has.
        let real = Files.real(path) ?? Files.absolute(path)
        return patterns.contains { fnmatch(Self.resolved($0), real, FNM_PATHNAME) == 0 } ? real : nil
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
