import Glibc

/// A file's place in its file system: the same through each mount that shows it.
package struct FilePlace: Hashable, Sendable {
    /// Major and minor number as in mountinfo, such as `8:1`.
    package let device: String
    /// A path from the file system's own top directory, such as `/pods/1/volume`.
    package let path: String

    package init(device: String, path: String) { (self.device, self.path) = (device, path) }

    /// The directories above it and the rest of the path below each, the nearest first.
    package var parents: [(place: FilePlace, rest: String)] {
        var found: [(place: FilePlace, rest: String)] = []
        var end = path.utf8.endIndex
        while let slash = path.utf8[..<end].lastIndex(of: UInt8(ascii: "/")), end > path.utf8.startIndex {
            let rest = String(path[path.utf8.index(after: slash)...])
            if !rest.isEmpty {
                found.append(
                    (FilePlace(device: device, path: slash == path.startIndex ? "/" : String(path[..<slash])), rest))
            }
            end = slash
        }
        return found
    }
}

/// The mounts of a namespace, by their numbers.
package struct MountNumbers: Sendable {
    private let entries: [Int: MountEntry]

    package init(_ table: [MountEntry]) {
        entries = Dictionary(table.map { ($0.id, $0) }) { _, last in last }
    }

    /// The place of an open file, and its path in the namespace; nil when its mount is not among these, or its path can't
    /// be told.
    package func place(of file: borrowing FileDescriptor) -> (place: FilePlace, path: String)? {
        let name = "\(file.raw)"
        guard let facts = try? Files.readText("/proc/thread-self/fdinfo/" + name),
            let line = facts.split(separator: "\n").first(where: { $0.hasPrefix("mnt_id:") }),
            let number = Int(line.dropFirst("mnt_id:".count).drop { $0 == "\t" || $0 == " " }),
            let path = try? Files.link("/proc/thread-self/fd/" + name), let place = entries[number]?.place(of: path)
        else { return nil }
        return (place, path)
    }
}

extension MountEntry {
    /// The place of an absolute path on this mount; nil for a path elsewhere.
    package func place(of path: String) -> FilePlace? {
        let top = mountPoint == "/" ? "" : mountPoint
        guard path == mountPoint || path.hasPrefix(top + "/") else { return nil }
        let joined = (root == "/" ? "" : root) + path.dropFirst(top.utf8.count)
        // The kernel's mark of a directory that was removed.
        guard !joined.hasSuffix("//deleted"), !root.hasSuffix("//deleted") else { return nil }
        let whole = joined.count > 1 && joined.hasSuffix("/") ? String(joined.dropLast()) : joined
        return FilePlace(device: device, path: whole.isEmpty ? "/" : whole)
    }
}
