import Glibc
import LinuxKernel

/// Facts of the host on which a machine's configuration depends.
package struct HostFacts: Sendable, Equatable {
    package var processors: Int
    package var memoryMiB: Int
    /// Half the host's bogomips × 1000, about the clock of its processors; 0 when unknown.
    package var kilohertz: Int
    /// A number on the host's vsock (vsock(7)) that no other guest is likely to have.
    package var vsockCID: UInt32 = 3
    /// An unused user for a hypervisor without root, and the group that may use /dev/kvm.
    package var user = ProcessUser(user: 65534, group: 65534)

    package init(processors: Int, memoryMiB: Int, kilohertz: Int, vsockCID: UInt32 = 3) {
        (self.processors, self.memoryMiB, self.kilohertz) = (processors, memoryMiB, kilohertz)
        self.vsockCID = vsockCID
    }

    /// Reads the facts of this host.
    package static var current: HostFacts {
        let pages = sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))
        var host = HostFacts(
            processors: max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))), memoryMiB: pages >> 20, kilohertz: clock(),
            vsockCID: randomNumber())
        // By convention no user has a number from 0x70000000 on (systemd, "Users, Groups, UIDs and GIDs"). Two living
        // shims have two pids.
        let own = firstFreeUser + UInt32(getpid())
        var device = stat()
        // SAFETY: stat(2) reads the path and fills the whole structure.
        host.user = unsafe ProcessUser(
            user: own, group: own,
            groups: stat("/dev/kvm", &device) == 0 && device.st_gid != 0 ? [device.st_gid] : [])
        return host
    }

    /// Replaces the number on the host's vsock by one that no other guest has. Opens the device, which loads its module.
    package mutating func chooseFreeVsockNumber() { vsockCID = Vsock.freeNumber(Self.randomNumber) }

    private static func randomNumber() -> UInt32 { UInt32.random(in: 3...0x7fff_ffff) }

    private static let firstFreeUser: UInt32 = 0x7000_0000

    /// Reads the line `bogomips`, which is twice the clock in MHz (arch/x86/kernel/cpu/proc.c).
    private static func clock() -> Int {
        for line in ((try? Files.readText("/proc/cpuinfo")) ?? "").split(separator: "\n")
        where line.hasPrefix("bogomips") {
            let text = line.split(separator: ":").last?.filter { $0 != " " && $0 != "\t" } ?? ""
            return Double(text).map { Int($0 * 500) } ?? 0
        }
        return 0
    }
}
