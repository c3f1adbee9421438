import Glibc

/// The namespaces in which a pid and a start time are valid (pid_namespaces(7), time_namespaces(7)).
///
/// Elsewhere the pid belongs to another process or to none, and the start time differs.
package struct ProcessNamespace: Hashable, Codable, Sendable {
    /// Inode of /proc/<pid>/ns/pid.
    package let inode: UInt64
    /// Inode of /proc/<pid>/ns/time; nil on a kernel without time namespaces, and in files of early versions.
    package let time: UInt64?

    package init(inode: UInt64, time: UInt64? = nil) { (self.inode, self.time) = (inode, time) }

    /// The namespaces of this process; nil when /proc can't be read.
    package static let own = ProcessNamespace(of: "self")

    /// The namespaces of a process.
    /// - Returns: nil when they can't be read.
    package init?(of process: String) {
        guard let found = try? Self.find(process) else { return nil }
        self = found
    }

    /// - Returns: nil when there is no such process.
    /// - Throws: when this process may not read them (ptrace(2), PTRACE_MODE_READ_FSCREDS).
    private static func find(_ process: String) throws(SystemError) -> ProcessNamespace? {
        guard let inode = try inode("/proc/\(process)/ns/pid") else { return nil }
        return ProcessNamespace(inode: inode, time: try Self.inode("/proc/\(process)/ns/time"))
    }

    private static func inode(_ path: String) throws(SystemError) -> UInt64? {
        var facts = stat()
        // SAFETY: stat(2) fills the whole structure, which is used only after success.
        if unsafe stat(path, &facts) == 0 { return UInt64(facts.st_ino) }
        guard errno == ENOENT || errno == ESRCH else { throw SystemError("look at", path, errno: errno) }
        return nil
    }

    /// The pids of all visible processes, this one included; none when /proc can't be read.
    package static var processes: [String] { Files.list("/proc").filter { $0.allSatisfy(\.isNumber) } }

    /// The initial namespaces, in which all processes are visible (PROC_PID_INIT_INO and PROC_TIME_INIT_INO of
    /// linux/proc_ns.h).
    private static let initial = ProcessNamespace(inode: 0xefff_fffc, time: 0xefff_fffa)

    /// Whether this process sees all processes of the host. Elsewhere, files such as cgroup.procs leave some out.
    package static var seesAllProcesses: Bool { own?.inode == initial.inode }

    private func matches(_ other: ProcessNamespace?) -> Bool {
        guard inode == other?.inode else { return false }
        guard let time, let theirs = other?.time else { return true }
        return time == theirs
    }

    /// Whether these are not this process's own: a pid means another process here.
    package var isForeign: Bool { !matches(Self.own) }

    /// Whether a process there may live that listens on `socket` all its life.
    /// - Parameter socket: nil: the process doesn't listen.
    package func mayHold(listener socket: String?) -> Bool { !isGone && socket.map(UnixSocket.isAbandoned) != true }

    /// Whether all processes of the namespace have ended. False when that can't be found out.
    package var isGone: Bool {
        // Process 1 keeps the initial namespace alive; not every root may look at it.
        guard isForeign, Self.own?.inode == Self.initial.inode, self != Self.initial else { return false }
        let processes = Self.processes.filter { $0 != "1" }
        // A process whose namespaces can't be read may be of this one.
        do { return try !processes.isEmpty && !processes.contains { try matches(Self.living($0)) } } catch {
            return false
        }
    }

    /// The namespaces of a process; nil when it has ended. A zombie still has a pid namespace, but no time namespace.
    private static func living(_ process: String) throws(SystemError) -> ProcessNamespace? {
        guard let found = try find(process), found.time != nil || own?.time == nil else { return nil }
        return found
    }
}
