import CLinux
import LinuxKernel

/// The capabilities that the shim keeps (capabilities(7)).
///
/// The bounding set stays the caller's, because hooks run with root's full rights as under other OCI runtimes. Each
/// other child gets its own bounding set: the hypervisor an empty one, virtiofsd `VirtioFS.capabilities`.
enum ShimRights {
    /// Without: modules, raw input and output, time, reboot, the kernel's log, auditing, mandatory access control, BPF.
    private static let needed = CapabilitySet([
        .chown, .dacOverride, .dacReadSearch, .fowner, .fsetid, .kill, .setgid, .setuid, .setpcap, .netBindService,
        .netAdmin, .netRaw, .ipcLock, .sysChroot, .sysPtrace, .sysAdmin, .sysNice, .sysResource, .mknod, .setfcap,
    ])

    /// Reduces the capabilities of the calling thread. Call it before other threads are started: they inherit them.
    static func drop() throws(SystemError) {
        try checkNegativeErrno("limit", "core dumps", clx_forbid_core_dumps())
        let status = try Files.readText("/proc/thread-self/status")
        guard let kept = CapabilitySet("CapPrm:", in: status)?.intersection(needed) else { return }
        try checkNegativeErrno("drop", "capabilities", clx_set_capabilities(kept.bits, kept.bits, 0))
    }
}
