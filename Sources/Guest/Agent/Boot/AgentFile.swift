import Container
import Glibc
import LinuxKernel

/// The agent's executable file. A container's process begins as a copy of the agent, so /proc/PID/exe leads to that
/// file. It must be on a read-only mount, or the process could overwrite the agent (CVE-2019-5736).
enum AgentFile {
    /// Makes read-only the mount that the kernel executed the agent from.
    /// - Parameter root: of that mount, opened before the agent moved to another mount of the same files.
    static func protect(_ root: borrowing FileDescriptor) throws(SystemError) {
        try MountAttributes.makeReadOnly("/proc/self/fd/\(root.raw)", called: "the agent's file")
    }

    /// Warns of a writable mount: `kata-osbuilder` makes no such image, others may.
    static func check() {
        var facts = statvfs()
        // ST_RDONLY has MS_RDONLY's bit (statvfs(3)).
        // SAFETY: the call reads the path and fills the structure.
        guard unsafe statvfs("/proc/self/exe", &facts) == 0, UInt(facts.f_flag) & UInt(MS_RDONLY) == 0 else { return }
        log.warning(
            "the agent's own file is on a mount that can be written: mount it read-only in the guest's image")
    }
}
