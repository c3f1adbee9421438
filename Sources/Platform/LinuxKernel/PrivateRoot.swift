import Glibc

/// A root file system for one process: some files and directories of the host at their own paths, read-only and nosuid
/// (mount_namespaces(7)).
package struct PrivateRoot: Sendable, Equatable {
    /// The directory for its mount points, which are empty files and directories. Only the process sees what is mounted
    /// on them.
    package let directory: String
    /// The paths in it. Missing ones are left out. For a link, its target is included too.
    package let paths: [String]
    /// Paths of devices, which stay usable.
    package let devices: [String]

    package init(directory: String, paths: [String], devices: [String]) {
        (self.directory, self.paths, self.devices) = (directory, paths, devices)
    }

    /// A detached mount and its mount point.
    struct Part: Sendable {
        let tree: SharedDescriptor
        let target: String
    }

    /// Makes the mount points and copies the mounts for them. The first part is the root.
    func assemble() throws(SystemError) -> [Part] {
        try makeDirectory("")
        try makeDirectory("/proc")
        var work = Assembly(parts: [try part("", source: directory)])
        for path in paths { try include(path, &work) }
        for path in devices { try include(path, isDevice: true, &work) }
        return work.parts
    }

    private struct Assembly {
        var parts: [Part]
        var included: [String] = []

        func covers(_ path: String) -> Bool { included.contains { path == $0 || path.hasPrefix($0 + "/") } }
    }

    private func include(_ path: String, isDevice: Bool = false, _ work: inout Assembly) throws(SystemError) {
        guard Files.exists(path) else { return }
        if work.covers(path) {
            // A link in there may lead elsewhere.
            if let real = Files.real(path), !work.covers(real) { try include(real, isDevice: isDevice, &work) }
            return
        }
        let name = path.lastIndex(of: "/") ?? path.startIndex
        try makeDirectory(String(path[..<name]))
        work.included.append(path)
        if Files.isLink(path) {
            let target = try Files.link(path)
            // SAFETY: symlink(2) only reads the two paths.
            try make(path) { unsafe symlink(target, $0) }
            let next = target.hasPrefix("/") ? target : path[..<name] + "/" + target
            return try include(Files.absolute(next), isDevice: isDevice, &work)
        }
        if Files.isDirectory(path) {
            try makeDirectory(path)
        } else {
            // SAFETY: mknod(2) only reads the path.
            try make(path) { unsafe mknod($0, S_IFREG | 0o444, 0) }
        }
        work.parts.append(try part(path, source: path, isDevice: isDevice))
    }

    private func part(_ path: String, source: String, isDevice: Bool = false) throws(SystemError) -> Part {
        let copy = try Mounts.copy(source, readOnly: true, alone: true, devices: isDevice)
        return Part(tree: SharedDescriptor(copy), target: directory + path)
    }

    /// Makes a directory that any user may search.
    private func makeDirectory(_ path: String) throws(SystemError) {
        if Files.isDirectory(directory + path) { return }
        if let slash = path.lastIndex(of: "/") { try makeDirectory(String(path[..<slash])) }
        // SAFETY: mkdir(2) and chmod(2) only read the path.
        try make(path) { unsafe mkdir($0, 0o755) }
        try check("permit", directory + path) { unsafe chmod(directory + path, 0o755) }
    }

    private func make(_ path: String, _ body: (String) -> Int32) throws(SystemError) {
        guard body(directory + path) == 0 || errno == EEXIST else {
            throw SystemError("make", directory + path, errno: errno)
        }
    }
}

/// The user and groups of a process.
package struct ProcessUser: Sendable, Equatable {
    package var user: UInt32
    package var group: UInt32
    /// Supplementary groups; the process keeps no others.
    package var groups: [UInt32]

    package init(user: UInt32, group: UInt32, groups: [UInt32] = []) {
        (self.user, self.group, self.groups) = (user, group, groups)
    }
}
