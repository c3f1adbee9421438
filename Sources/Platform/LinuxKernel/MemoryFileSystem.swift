import CLinux
import Glibc

/// A tmpfs or hugetlbfs, and the place of a path in it.
package struct MemoryFileSystem: Equatable, Sendable {
    /// Its device number, the same at every mount point.
    package var device: UInt64
    /// The path's place in the file system: `/` for its top directory.
    package var place = "/"
    /// Where the whole file system is mounted.
    package var mountPoints: [String]
    /// The size of a hugetlbfs's pages as the kernel shows it, such as `2M`; nil for a tmpfs.
    package var pageSize: String?
    /// Its option `size` as the kernel shows it, such as `65536k`; nil for the kernel's default.
    package var size: String?
    /// Options of its first mount that restrict what files can do: `nosuid`, `nodev`, `noexec`.
    package var restrictions: [String] = []
    package var top = Attributes()
    /// Attributes of the path itself.
    package var attributes = Attributes()
    package var content = Content.nothing

    package enum Content: Equatable, Sendable { case nothing, directories, files }

    package struct Attributes: Equatable, Sendable {
        /// Permissions with the bits for set-user-ID, set-group-ID and sticky.
        package var mode: UInt32 = 0o755
        package var owner: UInt32 = 0
        package var group: UInt32 = 0

        package init() {}

        init?(_ path: String) {
            var facts = stat()
            // SAFETY: stat(2) fills the whole structure, which is used only after success.
            guard unsafe stat(path, &facts) == 0 else { return nil }
            (mode, owner, group) = (facts.st_mode & 0o7777, facts.st_uid, facts.st_gid)
        }
    }

    package init(device: UInt64, mountPoints: [String] = []) {
        (self.device, self.mountPoints) = (device, mountPoints)
    }

    /// Finds the file system of a path; nil for a path on another file system, and when no mount of its top can be seen.
    package static func find(at path: String) -> MemoryFileSystem? { finder()(path) }

    /// A function like `find` that reads the mounts once, for many paths.
    package static func finder() -> @Sendable (String) -> MemoryFileSystem? {
        let mounts = MountTable.once(of: "thread-self")
        return { path in
            // SAFETY: the call only reads the path.
            guard unsafe clx_is_memory(path) == 1, let real = Files.real(path) else { return nil }
            return MemoryFileSystem(real, mounts())
        }
    }

    private init?(_ path: String, _ mounts: [MountEntry]) {
        var facts = stat()
        // SAFETY: stat(2) fills the whole structure, which is used only after success.
        guard unsafe stat(path, &facts) == 0 else { return nil }
        let number = DeviceNumber(UInt64(facts.st_dev))
        let own = mounts.filter { $0.device == number.description }
        let tops = own.filter { $0.root == "/" }
        // A later mount at the same place covers an earlier one.
        let around = own.filter { path == $0.mountPoint || path.hasPrefix($0.mountPoint + "/") }
        guard let first = tops.first,
            let mount = around.reversed().max(by: { $0.mountPoint.utf8.count < $1.mountPoint.utf8.count }),
            let top = Attributes(first.mountPoint), let attributes = Attributes(path)
        else { return nil }
        self.init(device: number.raw, mountPoints: tops.map(\.mountPoint))
        place = Files.absolute(mount.root + path.dropFirst(mount.mountPoint.utf8.count))
        func option(_ name: String) -> String? {
            first.superOptions.last { $0.hasPrefix(name) }.map { String($0.dropFirst(name.utf8.count)) }
        }
        (size, pageSize) = (option("size="), option("pagesize="))
        restrictions = first.options.filter { ["nosuid", "nodev", "noexec"].contains($0) }
        (self.top, self.attributes) = (top, attributes)
        var rest = Self.maxDirectories
        content = Self.content(of: first.mountPoint, &rest)
    }

    /// The most directories that are looked into. Those beyond count as files, as do those that can't be read.
    private static let maxDirectories = 200

    private static func content(of directory: String, _ rest: inout Int) -> Content {
        guard let names = try? Files.names(in: directory) else { return .files }
        for name in names {
            rest -= 1
            let path = directory + "/" + name
            guard rest >= 0, !Files.isLink(path), Files.isDirectory(path), content(of: path, &rest) != .files else {
                return .files
            }
        }
        return names.isEmpty ? .nothing : .directories
    }
}
