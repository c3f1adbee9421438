import Glibc

/// Where a process's number and the time of its start are its own (pid_namespaces(7), time_namespaces(7)): elsewhere the same number is
/// another process, or none, and the same process has started at another time.
package struct ProcessNamespace: Hashable, Codable, Sendable {
    /// Inode of /proc/<pid>/ns/pid.
    package let inode: UInt64
    /// Inode of /proc/<pid>/ns/time; nil of a kernel, or in a file of a version, that doesn't tell.
    package let time: UInt64?

    package init(inode: UInt64, time: UInt64? = nil) { (self.inode, self.time) = (inode, time) }

    /// This process's; nil where /proc doesn't tell.
    package static let own = ProcessNamespace(of: "self")

    /// Of a process that can be looked at from here.
    package init?(of process: String) {
        guard let found = try? Self.find(process) else { return nil }
        self = found
    }

    /// - Returns: nil when there is no such process.
    /// - Throws: for one of which this one may not know it (ptrace(2), PTRACE_MODE_READ_FSCREDS).
    private static func find(_ process: String) throws(SystemError) -> ProcessNamespace? {
        guard let inode = try inode("/proc/\(process)/ns/pid") else { return nil }
        return ProcessNamespace(inode: inode, time: try Self.inode("/proc/\(process)/ns/time"))
    }

    private static func inode(_ path: String) throws(SystemError) -> UInt64? {
        var facts = stat()
        if stat(path, &facts) == 0 { return UInt64(facts.st_ino) }
        guard errno == ENOENT || errno == ESRCH else { throw SystemError("look at", path, errno: errno) }
        return nil
    }

    /// The numbers of all that can be seen from here, this one's among them; none where /proc can't be read.
    package static var processes: [String] { Files.list("/proc").filter { $0.allSatisfy(\.isNumber) } }

    /// The host's, from which every other one's processes are seen (PROC_PID_INIT_INO and PROC_TIME_INIT_INO of linux/proc_ns.h).
    private static let initial = ProcessNamespace(inode: 0xefff_fffc, time: 0xefff_fffa)

    private func matches(_ other: ProcessNamespace?) -> Bool {
        guard inode == other?.inode else { return false }
        guard let time, let theirs = other?.time else { return true }
        return time == theirs
    }

    /// Not this process's own: a number of it is another process here.
    package var isForeign: Bool { !matches(Self.own) }

    /// Whether a process may live in it that listens on `socket` for as long as it lives; nil: none that listens.
    package func mayHold(listener socket: String?) -> Bool { !isGone && socket.map(UnixSocket.isAbandoned) != true }

    /// Whether all its processes have ended, for all that can be seen from here.
    package var isGone: Bool {
        // The host's own has its first process in it, which not every root may look at.
        guard isForeign, Self.own?.inode == Self.initial.inode, self != Self.initial else { return false }
        let processes = Self.processes.filter { $0 != "1" }
        // Any other that hides its namespaces may be of this one.
        do { return try !processes.isEmpty && !processes.contains { try matches(Self.find($0)) } } catch {
            return false
        }
    }
}
