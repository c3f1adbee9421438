import LinuxKernel

/// A cpio archive in the kernel's "newc" format (Documentation/driver-api/early-userspace/buffer-format.rst).
///
/// All entries belong to root and have time 0, so that the same files give the same bytes.
package struct Archive: Sendable {
    package private(set) var bytes: [UInt8] = []
    private var nextInode: UInt32 = 1
    private var directories: Set<String> = []

    package init() {}

    /// Adds a whole tree in its order.
    /// - Throws: `SystemError` for a file of the host that can't be read, or is longer than 1 GiB.
    package init(_ tree: FileTree) throws {
        for (path, node) in tree.nodes {
            switch node {
            case .directory: addDirectory(path)
            case .file(let content, let mode): addFile(path, mode: mode, content: content)
            case .copy(let source, let mode): addFile(path, mode: mode, content: try Files.read(source, limit: 1 << 30))
            case .link(let target): addLink(path, to: target)
            case .characterDevice(let mode, let major, let minor):
                addCharacterDevice(path, mode: mode, major: major, minor: minor)
            }
        }
    }

    /// Adds a directory and its missing parents.
    package mutating func addDirectory(_ path: String) {
        var prefix = ""
        for name in path.split(separator: "/") {
            prefix += prefix.isEmpty ? String(name) : "/" + name
            if directories.insert(prefix).inserted { add(prefix, mode: 0o040755, content: []) }
        }
    }

    package mutating func addFile(_ path: String, mode: UInt32 = 0o644, content: [UInt8]) {
        addParent(of: path)
        add(trimmed(path), mode: 0o100000 | mode, content: content)
    }

    package mutating func addLink(_ path: String, to target: String) {
        addParent(of: path)
        add(trimmed(path), mode: 0o120777, content: Array(target.utf8))
    }

    package mutating func addCharacterDevice(_ path: String, mode: UInt32, major: UInt32, minor: UInt32) {
        addParent(of: path)
        add(trimmed(path), mode: 0o020000 | mode, content: [], major: major, minor: minor)
    }

    /// Writes the archive's trailer.
    package consuming func finish() -> [UInt8] {
        nextInode = 0
        add("TRAILER!!!", mode: 0, content: [])
        while bytes.count % 512 != 0 { bytes.append(0) }
        return bytes
    }

    /// The content of a file in an archive of this format; nil when the file is missing or the bytes are no archive.
    package static func file(_ path: String, in bytes: [UInt8]) -> [UInt8]? {
        func padded(_ offset: Int) -> Int { (offset + 3) & ~3 }
        var offset = 0
        while offset + 110 <= bytes.count, bytes[offset..<offset + 6].elementsEqual(Array("070701".utf8)) {
            func field(_ index: Int) -> Int? {
                let start = offset + 6 + 8 * index
                return Int(String(decoding: bytes[start..<start + 8], as: UTF8.self), radix: 16)
            }
            guard let size = field(6), let nameLength = field(11), size >= 0, nameLength > 0 else { return nil }
            let nameEnd = offset + 110 + nameLength
            let start = padded(nameEnd)
            guard nameEnd <= bytes.count, start + size <= bytes.count else { return nil }
            let name = String(decoding: bytes[(offset + 110)..<(nameEnd - 1)], as: UTF8.self)
            if name == path { return Array(bytes[start..<start + size]) }
            offset = padded(start + size)
        }
        return nil
    }

    private func trimmed(_ path: String) -> String { String(path.drop { $0 == "/" }) }

    private mutating func addParent(of path: String) {
        if let slash = path.lastIndex(of: "/") { addDirectory(String(path[..<slash])) }
    }

    private mutating func add(_ name: String, mode: UInt32, content: [UInt8], major: UInt32 = 0, minor: UInt32 = 0) {
        let fields: [UInt32] = [
            nextInode, mode, 0, 0, mode & 0o170000 == 0o040000 ? 2 : 1, 0, UInt32(content.count), 0, 0, major, minor,
            UInt32(name.utf8.count + 1), 0,
        ]
        bytes += Array("070701".utf8)
        for field in fields {
            let digits = String(field, radix: 16)
            bytes += Array(repeating: UInt8(ascii: "0"), count: 8 - digits.count) + Array(digits.utf8)
        }
        bytes += Array(name.utf8) + [0]
        while bytes.count % 4 != 0 { bytes.append(0) }
        bytes += content
        while bytes.count % 4 != 0 { bytes.append(0) }
        nextInode += 1
    }
}
