import CLinux
import Glibc
import LinuxKernel

/// The agent's own file. A process that begins as the agent's copy leads to it by /proc/PID/exe: it must be on a mount that can't
/// be written, or a container's process could write the agent (CVE-2019-5736).
enum AgentFile {
    /// Makes the mount read-only from which the kernel executed the agent.
    /// - Parameter root: of that mount, opened before the agent moved to another one of the same files.
    static func protect(_ root: borrowing FileDescriptor) throws(SystemError) {
        try checkNegativeErrno(
            "make read-only", "the agent's file", clx_mount_setattr("/proc/self/fd/\(root.raw)", 1, 0, 0))
    }

    /// Tells of a mount that can be written: of an image that somebody has made otherwise than `kata-osbuilder` does.
    static func check() {
        var facts = statvfs()
        // ST_RDONLY has MS_RDONLY's bit (statvfs(3)).
        guard statvfs("/proc/self/exe", &facts) == 0, UInt(facts.f_flag) & UInt(MS_RDONLY) == 0 else { return }
        writeError(
            "kata-agent: the agent's own file is on a mount that can be written: mount it read-only in the guest's image"
        )
    }
}
