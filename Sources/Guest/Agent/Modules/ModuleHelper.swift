import Glibc
import LinuxKernel

/// The program that the kernel starts when something needs a module, such as `ip link add type bridge`.
///
/// It is the agent's own file, with the arguments of modprobe(8): `-q -- MODULE`. It runs with the kernel's rights in
/// the guest's first namespaces. A container can ask for a module by what it does, but not name a file.
package enum ModuleHelper {
    /// The module that the kernel asks for; nil if these are not the kernel's arguments.
    package static func request(in arguments: [String]) -> String? {
        guard arguments.count == 4, arguments[1] == "-q", arguments[2] == "--" else { return nil }
        return arguments[3]
    }

    /// - Returns: the exit status: 0 when the module is loaded.
    package static func run(_ request: String) -> Int32 {
        do {
            try enterGuestRoot()
            return try ModuleDirectory().load(request) ? 0 : 1
        } catch {
            logToConsole()
            log.error(error)
            return 1
        }
    }

    /// Names this program as the kernel's helper. A kernel without modules has none.
    static func install() {
        let setting = "/proc/sys/kernel/modprobe"
        guard Files.exists(setting) else { return }
        do { try Files.write(setting, try Files.link("/proc/self/exe")) } catch { log.error(error) }
    }

    /// Enters the root that the agent has mounted over the kernel's first one, where it booted from an initrd.
    private static func enterGuestRoot() throws(SystemError) {
        guard !Files.exists("/proc/self") else { return }
        // A lookup of ".." enters what is mounted on the root; a lookup of "/" doesn't.
        // SAFETY: the calls only read their paths.
        try check("change root to", "/..") { unsafe chroot("/..") }
        try check("enter", "/") { unsafe chdir("/") }
    }

    /// Opens the console for errors: the kernel starts its helpers without any descriptor.
    private static func logToConsole() {
        guard let console = try? FileDescriptor.open("/dev/kmsg", O_WRONLY) else { return }
        dup2(console.raw, STDERR_FILENO)
    }
}
