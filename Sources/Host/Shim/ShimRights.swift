import CLinux
import LinuxKernel

/// The capabilities of root that the shim keeps (capabilities(7)).
///
/// Its bounding set stays the caller's: hooks run with root's full rights, as OCI runtimes run them. Each other child gets a bounding set of
/// its own: QEMU an empty one, virtiofsd `VirtioFSDaemon.capabilities`.
enum ShimRights {
    /// Not among them: modules, raw input and output, time, reboot, the kernel's log, auditing, mandatory access control, BPF.
    private static let needed = CapabilitySet([
        .chown, .dacOverride, .dacReadSearch, .fowner, .fsetid, .kill, .setgid, .setuid, .setpcap, .netBindService,
        .netAdmin, .netRaw, .ipcLock, .sysChroot, .sysPtrace, .sysAdmin, .sysNice, .sysResource, .mknod, .setfcap,
    ])

    /// Reduces the rights of the calling thread and of those that it starts: call it before there are others.
    static func drop() throws(SystemError) {
        try checkNegativeErrno("limit", "core dumps", clx_forbid_core_dumps())
        let status = try Files.readText("/proc/thread-self/status")
        guard let kept = CapabilitySet("CapPrm:", in: status)?.intersection(needed) else { return }
        try checkNegativeErrno("drop", "capabilities", clx_set_capabilities(kept.bits, kept.bits, 0))
    }
}
