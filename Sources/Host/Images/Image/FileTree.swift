import Glibc
import LinuxKernel

/// The content of an image: paths from its root without a leading slash, in the order of adding.
package struct FileTree: Sendable {
    package enum Node: Sendable, Equatable {
        case directory
        case file([UInt8], mode: UInt32)
        /// A file of the host, which is read when the image is written.
        case copy(String, mode: UInt32)
        case link(to: String)
        case characterDevice(mode: UInt32, major: UInt32, minor: UInt32)
    }

    package private(set) var nodes: [(path: String, node: Node)] = []
    private var places: [String: Int] = [:]

    package init() {}

    /// Adds an entry with its missing parents. Replaces an entry of the same path.
    package mutating func add(_ path: String, _ node: Node) {
        let path = path.split(separator: "/").joined(separator: "/")
        if let slash = path.lastIndex(of: "/") {
            let parent = String(path[..<slash])
            if places[parent] == nil { add(parent, .directory) }
        }
        if let place = places[path] {
            nodes[place].node = node
        } else {
            places[path] = nodes.count
            nodes.append((path, node))
        }
    }

    package mutating func add(_ path: String, text: String, mode: UInt32 = 0o644) {
        add(path, .file(Array(text.utf8), mode: mode))
    }

    /// Adds a file, a link or a whole directory of the host.
    /// - Throws: `SystemError` when the source can't be looked at, `ImageError` for a device, fifo or socket.
    package mutating func add(copyOf source: String, at path: String) throws {
        var status = stat()
        // SAFETY: lstat(2) reads the path and fills the whole structure.
        try check("add", source) { unsafe lstat(source, &status) }
        switch status.st_mode & S_IFMT {
        case S_IFDIR:
            add(path, .directory)
            for name in try Files.names(in: source) { try add(copyOf: source + "/" + name, at: path + "/" + name) }
        case S_IFREG: add(path, .copy(source, mode: UInt32(status.st_mode & 0o7777)))
        case S_IFLNK: add(path, .link(to: try Files.link(source)))
        default: throw ImageError("add \(source): neither a file, a link nor a directory")
        }
    }

    /// Writes all entries below a directory, except device files: the guest's kernel fills /dev.
    func write(below directory: String) throws {
        for (path, node) in nodes {
            let target = directory + "/" + path
            switch node {
            case .directory: try Files.makeDirectory(target, mode: 0o755)
            case .file(let content, let mode): try replace(target, content, mode)
            case .copy(let source, let mode): try replace(target, try Files.read(source, limit: 1 << 30), mode)
            case .link(let destination):
                // SAFETY: the calls only read their paths.
                unsafe unlink(target)
                try check("link", target) { unsafe symlink(destination, target) }
            case .characterDevice: break
            }
        }
    }

    private func replace(_ target: String, _ content: [UInt8], _ mode: UInt32) throws {
        // A link in the tree may lead out of the image.
        // SAFETY: the calls only read their paths.
        unsafe unlink(target)
        try Files.write(target, content, mode: mode_t(mode))
        try check("set the mode of", target) { unsafe chmod(target, mode_t(mode)) }
    }
}
