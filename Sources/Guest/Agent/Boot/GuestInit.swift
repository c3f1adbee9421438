import CLinux
import Glibc
import LinuxKernel

/// The work of pid 1 before it serves: file systems, modules, loopback.
enum GuestInit {
    static func run() throws(SystemError) {
        setsid()
        try leaveInitialRoot()
        let safe = UInt(MS_NOSUID) | UInt(MS_NODEV) | UInt(MS_NOEXEC)
        try mount("sysfs", "/sys", safe)
        try mount("devtmpfs", "/dev", UInt(MS_NOSUID))
        try mount("tmpfs", "/run", UInt(MS_NOSUID) | UInt(MS_NODEV), "mode=755")
        try mount("tmpfs", "/tmp", UInt(MS_NOSUID) | UInt(MS_NODEV), "mode=1777")
        try Modules.load(Modules.boot)
        ModuleHelper.install()
        try mount("devpts", "/dev/pts", UInt(MS_NOSUID) | UInt(MS_NOEXEC), "ptmxmode=0666,mode=0620,gid=5")
        try mount("tmpfs", "/dev/shm", safe, "mode=1777")
        // Containers with a user namespace get copies of it. A kernel without message queues has none to give.
        try? mount("mqueue", "/dev/mqueue", safe)
        try mount("cgroup2", "/sys/fs/cgroup", safe)
        for (link, target) in [("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")] {
            // SAFETY: the call only reads both paths.
            unsafe symlink("/proc/self/fd" + target, "/dev/" + link)
        }
        // Replaces the kernel's name for a machine without a name. A sandbox sets its own later.
        // SAFETY: the name has the nine bytes that the call reads.
        if (try? Files.readText("/proc/sys/kernel/hostname")) == "(none)\n" { unsafe sethostname("localhost", 9) }
        // SAFETY: the call copies both texts, and the process has no other thread yet that could read the environment.
        unsafe setenv("PATH", "/bin:/sbin:/usr/bin:/usr/sbin", 1)
        _ = clx_loopback_up()
    }

    /// Moves to a second mount of the initrd's files: pivot_root(2) refuses to leave the kernel's first root.
    /// The root of an image is a second mount already.
    private static func leaveInitialRoot() throws(SystemError) {
        guard try Files.readText("/proc/self/mounts").hasPrefix("rootfs / ") else { return }
        let first = try FileDescriptor.open("/", Int32(clx_open_path) | O_DIRECTORY)
        let secondMount = "/tmp"
        try Files.makeDirectory(secondMount, mode: 0o1777)
        try Mounts.bind("/", at: secondMount)
        // SAFETY: the calls only read their paths.
        try check("enter", secondMount) { unsafe chdir(secondMount) }
        try Mounts.mount(".", at: "/", flags: UInt(MS_MOVE))
        try check("change root to", secondMount) { unsafe chroot(".") }
        try check("enter", "/") { unsafe chdir("/") }
        try AgentFile.protect(first)
    }

    private static func mount(_ type: String, _ target: String, _ flags: UInt, _ data: String? = nil)
        throws(SystemError)
    {
        try Files.makeDirectory(target, mode: 0o755)
        do { try Mounts.mount(type, at: target, type: type, flags: flags, data: data) } catch  where error.code == EBUSY
        {
            // The kernel has mounted it already (CONFIG_DEVTMPFS_MOUNT).
        }
    }
}
