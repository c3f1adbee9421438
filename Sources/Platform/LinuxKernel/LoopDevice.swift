import CLinux
import Glibc

/// A block device for an image file (loop(4)), as long as it is open here or mounted.
package struct LoopDevice: ~Copyable {
    private let path: String
    private let device: FileDescriptor

    /// - Throws: ENOTBLK for anything but a regular file or a block device.
    package init(_ image: String, readOnly: Bool) throws(SystemError) {
        let found = try FoundFile(image)
        // Opening another kind, such as a FIFO, may block for ever.
        guard [S_IFREG, S_IFBLK].contains(found.kind) else { throw SystemError("use as disk", image, errno: ENOTBLK) }
        let file = try found.open(readOnly ? O_RDONLY : O_RDWR)
        var number: Int32 = -1
        // SAFETY: the call writes only to `number`.
        device = unsafe FileDescriptor(
            owning: try checkNegativeErrno(
                "make a loop device of", image, clx_attach_loop(file.raw, readOnly ? 1 : 0, &number)))
        path = "/dev/loop\(number)"
    }

    /// Calls `body` with the device's path. A mount that `body` makes keeps the device.
    /// - Throws: the errors of `body`.
    package func use(_ body: (String) throws(SystemError) -> Void) throws(SystemError) { try body(path) }
}
