import Cgroups
import Glibc
import LinuxKernel

/// Notifies the watchers of a host's cgroup that its container ran out of memory.
///
/// runc's shim and conmon watch the cgroup of the container's process for kills by the kernel (memory.oom_control,
/// memory.events). The container's memory is the guest's, and so was the kill. Such a watcher learns of it when the
/// host's kernel kills in the watched cgroup too: a process that is started there to be killed.
package enum OutOfMemoryNotice {
    /// The cgroup of a process by which its memory is charged; nil when unknown.
    package static func group(of process: Int32, _ hierarchies: Hierarchies = .current) -> Cgroup? {
        let lines = ((try? Files.readText("/proc/\(process)/cgroup")) ?? "").split(separator: "\n")
        for line in lines {
            // hierarchy:controllers:path (cgroups(7)); version 2's has neither number nor controllers.
            let fields = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard fields.count == 3, fields[2].count > 1 else { continue }
            if hierarchies.isUnified ? fields[0] == "0" : fields[1].split(separator: ",").contains("memory") {
                return Cgroup(String(fields[2]), hierarchies)
            }
        }
        return nil
    }

    /// Lets the host's kernel kill a process in the cgroup of an attach process. Blocks until it is dead. Does nothing
    /// where other processes live there.
    /// - Parameter process: the attach process.
    /// - Throws: `SystemError` when the process can't be started or put into the cgroup, or the limit can't be set.
    ///   ENOTSUP when the cgroup doesn't show its used memory.
    package static func give(besides process: Int32, _ hierarchies: Hierarchies = .current) throws(SystemError) {
        guard let group = group(of: process, hierarchies), group.processes == [process] else { return }
        // It reads an endless input into memory, up to a limit that is above the cgroup's.
        let input = try FileDescriptor.open("/dev/zero", O_RDONLY)
        var command = Command("/proc/self/exe", ["-info"])
        command.descriptors[0] = input.raw
        command.withoutPrivileges = true
        let before = group.ownMemoryLimit
        let child: ChildProcess
        do {
            child = try ChildProcess(command) { child throws(SystemError) in
                try Files.write("/proc/\(child.pid)/oom_score_adj", "\(mostLikely)")
                try group.add(child.pid)
                // The child waits here. It gets the memory to execute its program, but not to run it: before that it
                // shares this process's memory, and the kernel would kill another one.
                guard let used = group.usedMemory else {
                    throw SystemError("read the memory's use of", group.path, errno: ENOTSUP)
                }
                _ = try group.set(.init(memory: used + executionBytes))
            }
        } catch {
            try? group.resetMemoryLimit(to: before)
            throw error
        }
        _ = child.wait(within: Deadline.notice.limit)
        try group.resetMemoryLimit(to: before)
    }

    /// Enough for the program's arguments, and not for its own data.
    private static let executionBytes: UInt64 = 512 << 10
    /// The value with which a process is killed before all others (proc_pid_oom_score_adj(5)).
    private static let mostLikely = 1000
}
