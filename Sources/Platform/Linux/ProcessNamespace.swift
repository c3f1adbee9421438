import Glibc

/// Where a process's number is its number (pid_namespaces(7)): elsewhere the same one is another process, or none.
package struct ProcessNamespace: Hashable, Codable, Sendable {
    /// Inode of /proc/<pid>/ns/pid.
    package let inode: UInt64

    package init(inode: UInt64) { self.inode = inode }

    /// This process's; nil where /proc doesn't tell.
    package static let own = ProcessNamespace(of: "self")

    /// Of a process that can be looked at from here.
    package init?(of process: String) {
        var facts = stat()
        guard stat("/proc/\(process)/ns/pid", &facts) == 0 else { return nil }
        inode = UInt64(facts.st_ino)
    }

    /// The numbers of all that can be seen from here, this one's among them; none where /proc can't be read.
    package static var processes: [String] { Files.list("/proc").filter { $0.allSatisfy(\.isNumber) } }

    /// The host's, from which every other one's processes are seen (PROC_PID_INIT_INO of linux/proc_ns.h).
    private static let initial = ProcessNamespace(inode: 0xefff_fffc)

    /// Whether all its processes have ended, for all that can be seen from here.
    package var isGone: Bool {
        guard self != Self.own, Self.own == Self.initial else { return false }
        let processes = Self.processes
        return !processes.isEmpty && !processes.contains { ProcessNamespace(of: $0) == self }
    }
}
