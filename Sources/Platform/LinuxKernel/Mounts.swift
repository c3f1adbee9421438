import CLinux
import Glibc
import Synchronization

/// mount(2) and umount2(2).
package enum Mounts {
    package static func mount(
        _ source: String, at target: String, type: String? = nil, flags: UInt = 0, data: String? = nil
    ) throws(SystemError) {
        try check("mount \(type ?? source) on", target) { Glibc.mount(source, target, type, flags, data) }
    }

    /// Bind-mounts `source` on `target`.
    package static func bind(_ source: String, at target: String, recursive: Bool = true) throws(SystemError) {
        try mount(source, at: target, flags: UInt(MS_BIND) | (recursive ? UInt(MS_REC) : 0))
    }

    /// Shows `source`, with all that is mounted below it, at `target` too. Setuid programs and devices mean nothing there.
    ///
    /// Whoever gets the mount by propagation gets it with the same attributes: set afterwards they would be this one's alone.
    package static func lend(_ source: String, at target: String, readOnly: Bool = false) throws(SystemError) {
        try attach(copy(source, readOnly: readOnly), at: target)
    }

    /// What `lend` shows, not shown anywhere yet.
    /// - Parameters:
    ///   - recursive: with all that is mounted below it.
    ///   - alone: what is mounted below later, here or there, is not seen at the other.
    ///   - devices: those that are files there work.
    ///   - process: `source` is a path as this process sees it; managers mount for themselves what others don't get to see.
    package static func copy(
        _ source: String, readOnly: Bool = false, recursive: Bool = true, alone: Bool = false, devices: Bool = false,
        seenBy process: Int32? = nil
    ) throws(SystemError) -> FileDescriptor {
        let attributes = noSetuid | (devices ? 0 : noDevices) | (readOnly ? Self.readOnly : 0)
        let (below, propagation) = (Int32(recursive ? 1 : 0), alone ? UInt64(MS_PRIVATE) : 0)
        guard let process else {
            return FileDescriptor(
                owning: try checkNegativeErrno(
                    "copy mounts of", source, clx_copy_tree(-1, source, below, attributes, propagation)))
        }
        let theirs = try FileDescriptor.open("/proc/\(process)/ns/mnt", O_RDONLY)
        let raw = theirs.raw
        let outcome = Outcome()
        try runThread("mounts") {
            outcome.value.withLock { $0 = clx_copy_tree(raw, source, below, attributes, propagation) }
        }
        return FileDescriptor(owning: try checkNegativeErrno("copy mounts of", source, outcome.value.withLock { $0 }))
    }

    private final class Outcome: Sendable { let value = Mutex<Int32>(-EIO) }

    package static func attach(_ copy: borrowing FileDescriptor, at target: String) throws(SystemError) {
        try attach(copy.raw, at: target)
    }

    package static func attach(_ copy: Int32, at target: String) throws(SystemError) {
        try checkNegativeErrno("attach mounts at", target, clx_attach_tree(copy, target))
    }

    /// MOUNT_ATTR_* (mount_setattr(2)).
    private static let readOnly: UInt64 = 1
    private static let noSetuid: UInt64 = 2
    private static let noDevices: UInt64 = 4

    /// Whether something may be mounted below a path.
    package static func mayBe(below path: String) -> Bool {
        guard let table = try? Files.readText("/proc/self/mountinfo") else { return true }
        return mayBe(below: Files.absolute(path), table: table)
    }

    /// - Parameter table: as in proc_pid_mountinfo(5), which writes blanks and backslashes in its own way: a path that has any may be there.
    static func mayBe(below path: String, table: String) -> Bool {
        if path.utf8.contains(where: { $0 <= 32 || $0 == UInt8(ascii: "\\") }) { return true }
        let start = path == "/" ? path : path + "/"
        return table.split(separator: "\n").contains { line in
            let fields = line.split(separator: " ", maxSplits: 5)
            return fields.count > 4 && fields[4].hasPrefix(start)
        }
    }

    /// The mount namespace of this process, as far as it can be told from others: where the answer differs, mounts do.
    package static var namespace: UInt64 {
        var facts = stat()
        return stat("/proc/self/ns/mnt", &facts) == 0 ? UInt64(facts.st_ino) : 0
    }

    /// Detaches whatever is mounted at `target`; nothing mounted is no error.
    package static func detach(_ target: String) {
        while umount2(target, Int32(MNT_DETACH)) == 0 {}
    }

    /// Detaches what was mounted last at `target` itself, never behind a link; nothing mounted is no error.
    package static func detachLast(_ target: String) { umount2(target, Int32(MNT_DETACH) | Int32(UMOUNT_NOFOLLOW)) }
}
