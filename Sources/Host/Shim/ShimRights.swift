import CLinux
import Linux

/// What the shim keeps of root's capabilities (capabilities(7)). Programs that it starts as hooks have root's own, as with any runtime;
/// QEMU has none, virtiofsd gives up its own.
enum ShimRights {
    /// Bits of what it works with: chown, dac_override, dac_read_search, fowner, fsetid, kill, setgid, setuid, setpcap; net_bind_service,
    /// net_admin, net_raw, ipc_lock; sys_chroot, sys_ptrace, sys_admin, sys_nice, sys_resource, mknod; setfcap. Not among them: modules, raw
    /// input and output, time, reboot, the kernel's log, auditing, mandatory access control, BPF.
    private static let needed: UInt64 = [
        0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 13, 14, 18, 19, 21, 23, 24, 27, 31,
    ].reduce(0) { $0 | 1 << UInt64($1) }

    /// Of the calling thread and those that it starts: to be called before there are others.
    static func drop() throws(SystemError) {
        let status = try Files.readText("/proc/thread-self/status")
        guard let line = status.split(separator: "\n").first(where: { $0.hasPrefix("CapPrm:") }),
            let permitted = line.split(whereSeparator: { $0 == "\t" || $0 == " " }).last.flatMap({
                UInt64($0, radix: 16)
            })
        else { return }
        try checkNegated(
            "drop", "capabilities", clx_set_capabilities(permitted & needed, permitted & needed, 0))
    }
}
