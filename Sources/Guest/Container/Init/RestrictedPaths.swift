import CLinux
import Glibc
import LinuxKernel

/// Masks files of a container and makes them read-only, by mounts on top of them.
///
/// The mounts are placed by descriptor: no path is followed that the container could change (CVE-2025-31133).
struct RestrictedPaths: ~Copyable {
    private let null: FileDescriptor
    /// The number of /dev/null (Documentation/admin-guide/devices.txt).
    private static let nullDevice = DeviceNumber(major: 1, minor: 3)

    /// Opens the guest's /dev/null, which replaces a masked file.
    init() throws(SystemError) {
        let null = try FileDescriptor.open("/dev/null", Int32(clx_open_path) | O_NOFOLLOW)
        guard let facts = FileFacts(null.raw), facts.type == S_IFCHR, facts.number == Self.nullDevice else {
            throw SystemError("mask files with", "/dev/null, which is not device 1:3,", errno: ENODEV)
        }
        self.null = null
    }

    /// Hides a file or a directory.
    /// - Parameter path: its name in errors.
    func mask(_ place: borrowing FileDescriptor, _ path: String) throws(SystemError) {
        if FileFacts(place.raw)?.type == S_IFDIR {
            do {
                try Mounts.mount("tmpfs", at: place.name, type: "tmpfs", flags: UInt(MS_RDONLY), data: "size=0k")
            } catch { throw SystemError("mask", path, errno: error.code) }
        } else {
            try cover(place, with: null.raw, recursive: 0, path)
        }
    }

    /// Makes a file or a tree read-only.
    func makeReadOnly(_ place: borrowing FileDescriptor, _ path: String) throws(SystemError) {
        try cover(place, with: place.raw, recursive: 1, path) { copy throws(SystemError) in
            try MountAttributes.makeReadOnly("/proc/self/fd/\(copy)", called: path)
        }
    }

    /// Mounts a copy of `file` on top of `place`.
    private func cover(
        _ place: borrowing FileDescriptor, with file: Int32, recursive: Int32, _ path: String,
        _ prepare: (_ copy: Int32) throws(SystemError) -> Void = { _ in }
    ) throws(SystemError) {
        let copy = FileDescriptor(owning: try checkNegativeErrno("cover", path, clx_copy_mount(file, recursive)))
        try prepare(copy.raw)
        try checkNegativeErrno("cover", path, clx_move_mount(copy.raw, place.raw))
    }
}
