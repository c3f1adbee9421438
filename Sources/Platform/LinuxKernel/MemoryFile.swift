import CLinux
import Glibc

extension FileDescriptor {
    /// A file of memory without a name, empty and `size` bytes long for ever: another process that has it too can't shorten it, which would end
    /// with SIGBUS whoever has mapped it (fcntl(2), F_SEAL_SHRINK).
    package static func memory(_ label: String, size: Int) throws(SystemError) -> FileDescriptor {
        let file = FileDescriptor(owning: try checkNegativeErrno("make memory", label, clx_memory_file(label)))
        let raw = file.raw
        try check("size memory", label) { ftruncate(raw, size) }
        try checkNegativeErrno("seal memory", label, clx_seal_size(raw))
        return file
    }
}
