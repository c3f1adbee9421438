import CLinux
import Glibc
import Synchronization

/// mount(2) and umount2(2).
package enum Mounts {
    /// Mounts a file system.
    /// - Parameters:
    ///   - flags: MS_* bits of mount(2).
    ///   - data: the file system's own options, separated by commas.
    /// - Throws: `SystemError` with the errno of mount(2).
    package static func mount(
        _ source: String, at target: String, type: String? = nil, flags: UInt = 0, data: String? = nil
    ) throws(SystemError) {
        // SAFETY: mount(2) only reads the texts, and takes NULL for the type and the data.
        try check("mount \(type ?? source) on", target) { unsafe Glibc.mount(source, target, type, flags, data) }
    }

    /// Bind-mounts `source` on `target`.
    /// - Throws: as `mount`.
    package static func bind(_ source: String, at target: String, recursive: Bool = true) throws(SystemError) {
        try mount(source, at: target, flags: UInt(MS_BIND) | (recursive ? UInt(MS_REC) : 0))
    }

    /// Bind-mounts `source` with all mounts below it on `target`, with nosuid and nodev.
    ///
    /// The copy has these attributes before it is attached, so that mount propagation spreads them too.
    /// - Throws: as `copy` and `attach`.
    package static func lend(_ source: String, at target: String, readOnly: Bool = false) throws(SystemError) {
        try attach(copy(source, readOnly: readOnly), at: target)
    }

    /// Copies a mount without attaching it (open_tree(2)), with nosuid. Later mounts propagate from the source to the
    /// copy, never back (mount_namespaces(7)): removing a copy of /sys must not unmount what is below the host's.
    /// - Parameters:
    ///   - recursive: copies all mounts below it too.
    ///   - alone: makes the copy private: later mounts don't propagate to it either.
    ///   - devices: without nodev.
    ///   - namespace: looks `source` up in this mount namespace (/proc/PID/ns/mnt); managers may mount only there.
    /// - Throws: `SystemError` with the errno of open_tree(2) or mount_setattr(2). With `namespace`, also when
    ///   it can't be entered, or the thread for that can't be started.
    package static func copy(
        _ source: String, readOnly: Bool = false, recursive: Bool = true, alone: Bool = false, devices: Bool = false,
        in namespace: SharedDescriptor? = nil
    ) throws(SystemError) -> FileDescriptor {
        let attributes =
            MountAttribute.noSetuid | (devices ? 0 : MountAttribute.noDevices)
            | (readOnly ? MountAttribute.readOnly : 0)
        let (below, propagation) = (Int32(recursive ? 1 : 0), UInt64(alone ? MS_PRIVATE : MS_SLAVE))
        guard let namespace else {
            // SAFETY: the call only reads the path.
            return unsafe FileDescriptor(
                owning: try checkNegativeErrno(
                    "copy mounts of", source, clx_copy_tree(-1, source, below, attributes, propagation)))
        }
        let raw = namespace.raw
        let outcome = Outcome()
        try runThread("mounts") {
            // SAFETY: the call only reads the path.
            outcome.value.withLock { $0 = unsafe clx_copy_tree(raw, source, below, attributes, propagation) }
        }
        return FileDescriptor(owning: try checkNegativeErrno("copy mounts of", source, outcome.value.withLock { $0 }))
    }

    private final class Outcome: Sendable { let value = Mutex<Int32>(-EIO) }

    /// Attaches copied mounts at `target`.
    /// - Throws: `SystemError` with the errno of move_mount(2), such as ENOENT without `target`.
    package static func attach(_ copy: borrowing FileDescriptor, at target: String) throws(SystemError) {
        try attach(copy.raw, at: target)
    }

    /// Attaches copied mounts, given by their descriptor's number, at `target`.
    /// - Throws: as the call with an owned descriptor.
    package static func attach(_ copy: Int32, at target: String) throws(SystemError) {
        // SAFETY: the call only reads the path.
        try unsafe checkNegativeErrno("attach mounts at", target, clx_attach_tree(copy, target))
    }

    /// Makes the working directory, which must be a mount point, the root, and detaches the old root (pivot_root(2),
    /// `pivot_root(".", ".")`).
    /// - Parameter name: the directory's path, for errors.
    /// - Throws: `SystemError` with the errno of pivot_root(2), such as EINVAL for a directory that is no mount point.
    ///   Also with that of umount2(2) or chdir(2); the root has changed then.
    package static func pivotToWorkingDirectory(_ name: String) throws(SystemError) {
        // SAFETY: the calls only read the paths.
        try checkNegativeErrno("pivot root to", name, unsafe clx_pivot_root(".", "."))
        try check("leave", "old root") { unsafe umount2(".", Int32(MNT_DETACH)) }
        try check("enter", "/") { unsafe chdir("/") }
    }

    /// Whether something is mounted below `path`. True when that can't be found out.
    package static func hasMounts(below path: String) -> Bool {
        guard let table = try? MountTable.read() else { return true }
        return hasMounts(below: Files.absolute(path), table: table)
    }

    /// File systems of the kernel itself (proc(5), sysfs(5) and so on), which a guest has of its own.
    private static let kernelTypes: Set<String> = [
        "autofs", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts", "devtmpfs", "efivarfs",
        "fusectl", "mqueue", "nsfs", "proc", "pstore", "securityfs", "sysfs", "tracefs",
    ]

    /// The visible mounts of directories and files below `path`, in the order of mounting, without the kernel's own file
    /// systems.
    package static func below(_ path: String, table: [MountEntry]) -> [MountEntry] {
        let start = path == "/" ? path : path + "/"
        var last: [String: Int] = [:]
        for (index, entry) in table.enumerated() { last[entry.mountPoint] = index }
        return table.enumerated().filter { index, entry in
            entry.mountPoint != path && entry.mountPoint.hasPrefix(start) && last[entry.mountPoint] == index
                && !kernelTypes.contains(entry.type)
        }.map(\.element)
    }

    /// Makes the top of a copied tree read-only; mounts below keep their flags.
    /// - Throws: `SystemError` with the errno of mount_setattr(2).
    package static func makeReadOnly(_ copy: borrowing FileDescriptor, of source: String) throws(SystemError) {
        // SAFETY: the call only reads the path.
        try unsafe checkNegativeErrno(
            "make read-only", source, clx_mount_setattr("/proc/self/fd/\(copy.raw)", MountAttribute.readOnly, 0, 0))
    }

    /// Makes a mount read-only or writable; mounts below keep their flags.
    /// - Parameter namespace: the mount namespace (/proc/PID/ns/mnt) in which `path` is the mount point; nil: this
    ///   process's.
    /// - Throws: `SystemError` with the errno of mount_setattr(2), such as EBUSY where a file is open for writing. With
    ///   `namespace`, also when it can't be entered, or the thread for that can't be started.
    package static func setReadOnly(_ isReadOnly: Bool, _ path: String, in namespace: SharedDescriptor? = nil)
        throws(SystemError)
    {
        let (set, clear) = isReadOnly ? (MountAttribute.readOnly, 0) : (0, MountAttribute.readOnly)
        let operation = isReadOnly ? "make read-only" : "make writable"
        guard let namespace else {
            // SAFETY: the call only reads the path.
            try unsafe checkNegativeErrno(operation, path, clx_mount_setattr(path, set, clear, 0))
            return
        }
        let raw = namespace.raw
        let outcome = Outcome()
        try runThread("mounts") {
            // SAFETY: the call only reads the path.
            outcome.value.withLock { $0 = unsafe clx_mount_setattr_in(raw, path, set, clear) }
        }
        try checkNegativeErrno(operation, path, outcome.value.withLock { $0 })
    }

    /// Whether a table has something mounted below `path`.
    package static func hasMounts(below path: String, table: [MountEntry]) -> Bool {
        let start = path == "/" ? path : path + "/"
        return table.contains { $0.mountPoint != path && $0.mountPoint.hasPrefix(start) }
    }

    /// Inode of /proc/self/ns/mnt; equal inodes mean the same mount namespace. 0 when /proc can't be read.
    package static var namespace: UInt64 {
        var facts = stat()
        // SAFETY: stat(2) fills the whole structure, which is used only after success.
        return unsafe stat("/proc/self/ns/mnt", &facts) == 0 ? UInt64(facts.st_ino) : 0
    }

    /// Detaches everything that is mounted at `target`; nothing mounted is no error.
    package static func detach(_ target: String) {
        // SAFETY: the call only reads the path.
        while unsafe umount2(target, Int32(MNT_DETACH)) == 0 {}
    }

    /// Detaches the top mount at `target`, without following a link; nothing mounted is no error.
    package static func detachLast(_ target: String) {
        // SAFETY: the call only reads the path.
        unsafe umount2(target, Int32(MNT_DETACH) | Int32(UMOUNT_NOFOLLOW))
    }
}
