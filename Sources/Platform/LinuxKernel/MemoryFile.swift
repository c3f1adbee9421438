import CLinux
import Glibc

extension FileDescriptor {
    /// Makes a file in memory without a name: `size` zero bytes, sealed so that its size can't change (fcntl(2),
    /// F_SEAL_SHRINK).
    ///
    /// Otherwise another process could shorten it, which raises SIGBUS in every process that has mapped it.
    /// - Throws: `SystemError` for lack of a descriptor or memory; EINVAL for a label of more than 249 bytes
    ///   (memfd_create(2)).
    package static func memory(_ label: String, size: Int) throws(SystemError) -> FileDescriptor {
        // SAFETY: the call only reads the name.
        let file = unsafe FileDescriptor(owning: try checkNegativeErrno("make memory", label, clx_memory_file(label)))
        let raw = file.raw
        try check("size memory", label) { ftruncate(raw, size) }
        try checkNegativeErrno("seal memory", label, clx_seal_size(raw))
        return file
    }
}
