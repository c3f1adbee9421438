import AgentAPI
import Glibc
import LinuxKernel
import Synchronization

/// The guest's own AppArmor profile. It is loaded for the first process that asks for it: others need not wait.
final class DefaultProfile: Sendable {
    private let policy: String
    /// Where securityfs is mounted.
    private let directory: String
    private let isLoaded = Mutex<Bool?>(nil)

    init(policy: String = GuestAppArmor.policy, directory: String = "/sys/kernel/security") {
        (self.policy, self.directory) = (policy, directory)
    }

    /// Loads the profile at the first call that succeeds. Blocks.
    /// - Returns: false if the image or the kernel lacks it; a line in the log has the cause.
    /// - Throws: the kernel's other errors, such as a lack of memory: no process runs without the profile for these.
    func load() throws(SystemError) -> Bool {
        try isLoaded.withLock { (loaded) throws(SystemError) in
            if let loaded { return loaded }
            var result = true
            do throws(SystemError) { try write() } catch {
                guard error.code == ENOENT else { throw error }
                log.warning(
                    "processes run without the default AppArmor profile",
                    ["profile": GuestAppArmor.profile, "cause": "\(error)"])
                result = false
            }
            loaded = result
            return result
        }
    }

    private func write() throws(SystemError) {
        let content = try Files.read(policy)
        if Files.list(directory).isEmpty {
            try Mounts.mount(
                "securityfs", at: directory, type: "securityfs",
                flags: UInt(MS_NOSUID) | UInt(MS_NODEV) | UInt(MS_NOEXEC))
        }
        // Without O_CREAT, the error for a kernel without AppArmor is ENOENT.
        let file = directory + "/apparmor/.replace"
        try FileDescriptor.open(file, O_WRONLY).writeAll(content, to: file)
    }
}
