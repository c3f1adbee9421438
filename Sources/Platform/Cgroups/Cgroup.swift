import Glibc
import LinuxKernel

/// A cgroup, by its path below the mount point of each hierarchy (cgroups(7)).
package struct Cgroup: Sendable, Equatable {
    /// Such as `/docker/kata_0123`: begins with a slash, has no `..`.
    package let path: String
    package let hierarchies: Hierarchies

    package init(_ path: String, _ hierarchies: Hierarchies = .current) {
        (self.path, self.hierarchies) = (path, hierarchies)
    }

    /// Makes the cgroup and its missing parents in every hierarchy. A cpuset without processors or memory nodes gets
    /// those of its parent (cpuset(7)).
    /// - Throws: `SystemError` when a directory can't be made, or a file of a cpuset can't be read or written.
    package func make() throws(SystemError) {
        for hierarchy in hierarchies.all {
            var directory = hierarchy.path
            for name in path.split(separator: "/") {
                let above = directory
                directory += "/" + name
                if hierarchies.isUnified { Self.enableControllers(in: above) }
                // SAFETY: mkdir(2) only reads the path.
                if unsafe mkdir(directory, 0o755) != 0, errno != EEXIST {
                    throw SystemError("make cgroup", directory, errno: errno)
                }
                if hierarchy.controllers.contains("cpuset") {
                    for file in ["cpuset.cpus", "cpuset.mems"] { try Self.inherit(file, directory, above) }
                }
            }
        }
    }

    private static func inherit(_ file: String, _ directory: String, _ above: String) throws(SystemError) {
        guard try Files.readText(directory + "/" + file).allSatisfy(\.isWhitespace) else { return }
        try Files.write(directory + "/" + file, try Files.readText(above + "/" + file))
    }

    /// Moves a process into the cgroup, with all its threads. Its future children start there.
    /// - Parameter controllers: the process stays where it is in version 1's hierarchies of these.
    /// - Throws: `SystemError` that names the file, such as ENOENT without the cgroup or ESRCH without the process. In
    ///   version 1, the process has moved in the hierarchies before that one then.
    package func add(_ process: Int32, without controllers: Set<String> = []) throws(SystemError) {
        for hierarchy in hierarchies.all where hierarchy.controllers.isDisjoint(with: controllers) {
            try Files.write(hierarchy.path + path + "/cgroup.procs", "\(process)")
        }
    }

    /// Moves a process out of the cgroup, to the nearest parent that takes it.
    package func leave(_ process: Int32) {
        for hierarchy in hierarchies.all { Self.moveUp("\(process)", from: hierarchy.path + path, to: hierarchy.path) }
    }

    /// In version 2, a cgroup that enables controllers for its children takes no processes, except the root
    /// (cgroup-v2.rst, "No Internal Process Constraint").
    private static func moveUp(_ process: String, from directory: String, to root: String) {
        var directory = directory
        while directory != root, directory.count > root.count {
            directory = Files.parent(of: directory)
            if (try? Files.write(directory + "/cgroup.procs", process)) != nil { return }
        }
    }

    /// Sets the processors, memory nodes and CPU shares, with the values of `linux.resources.cpu` (config-linux.md,
    /// "CPU"). Nil, empty and 0 change nothing.
    /// - Throws: ENOENT when there is no cpuset controller; the kernel's errors for numbers that the parent doesn't
    ///   have.
    package func set(processors: String?, nodes: String?, shares: UInt64?) throws(SystemError) {
        for (file, value) in [("cpuset.cpus", processors), ("cpuset.mems", nodes)] {
            guard let value, !value.isEmpty else { continue }
            guard let directory = hierarchies.directory("cpuset", path), Files.exists(directory + "/" + file) else {
                throw SystemError("set \(file) of", path, errno: ENOENT)
            }
            do { try Files.write(directory + "/" + file, value) } catch {
                throw SystemError("set \(file) to \"\(value)\" of", directory, errno: error.code)
            }
        }
        if let shares, shares > 0, let directory = hierarchies.directory("cpu", path) {
            let (file, value) =
                hierarchies.isUnified ? ("cpu.weight", CPUWeight.weight(shares: shares)) : ("cpu.shares", shares)
            guard Files.exists(directory + "/" + file) else { return }
            try Files.write(directory + "/" + file, "\(value)")
        }
    }

    /// Gives a cpuset the processors or memory nodes of its parent.
    /// - Parameter file: `cpuset.cpus` or `cpuset.mems`.
    /// - Throws: `SystemError` when the parent's file can't be read, or the cgroup's own can't be written.
    package func inherit(_ file: String) throws(SystemError) {
        guard let directory = hierarchies.directory("cpuset", path) else { return }
        // In version 2 an empty set is the parent's.
        let value = hierarchies.isUnified ? "\n" : try Files.readText(Files.parent(of: directory) + "/" + file)
        try Files.write(directory + "/" + file, value)
    }

    /// Whether the hierarchy is version 2's.
    package var isUnified: Bool { hierarchies.isUnified }

    /// The maximum that the processes of a cgroup may use together.
    package struct Limits: Sendable, Equatable {
        /// Bytes of memory; nil: no limit.
        package var memory: UInt64?
        /// Number of processes and threads; nil: no limit.
        package var tasks: UInt64?

        package init(memory: UInt64? = nil, tasks: UInt64? = nil) { (self.memory, self.tasks) = (memory, tasks) }
    }

    /// Sets limits (cgroup-v2.rst, "memory.max" and "pids.max"; in version 1 memory.rst, "memory.limit_in_bytes").
    /// - Returns: the controllers that this host lacks; their limits are not set.
    /// - Throws: `SystemError` that names the value and the file, with the kernel's errno.
    package func set(_ limits: Limits) throws(SystemError) -> [String] {
        let files = [
            ("memory", hierarchies.isUnified ? "memory.max" : "memory.limit_in_bytes", limits.memory),
            ("pids", "pids.max", limits.tasks),
        ]
        var lacking: [String] = []
        for (controller, name, value) in files {
            guard let value else { continue }
            if let file = hierarchies.directory(controller, path).map({ $0 + "/" + name }), Files.exists(file) {
                do { try Files.write(file, "\(value)") } catch {
                    throw SystemError("set to \(value)", file, errno: error.code)
                }
            } else {
                lacking.append(controller)
            }
        }
        return lacking
    }

    /// Whether the kernel's OOM killer has killed a process of the cgroup, at its own memory limit or a parent's.
    package var hasKilledForMemory: Bool {
        hasCounted("oom_kill", in: hierarchies.isUnified ? "memory.events" : "memory.oom_control", of: "memory")
    }

    /// Whether a process or thread was refused for the cgroup's limit (cgroup-v2.rst, "pids.events").
    package var hasRefusedTasks: Bool {
        hasCounted("max", in: "pids.events", of: "pids")
    }

    /// Whether a file of counters has one of an event above zero.
    private func hasCounted(_ event: String, in file: String, of controller: String) -> Bool {
        guard let directory = hierarchies.directory(controller, path) else { return false }
        let text = (try? Files.readText(directory + "/" + file)) ?? ""
        return text.split(separator: "\n").contains { $0.hasPrefix(event + " ") && $0 != event + " 0" }
    }

    /// Removes the cgroup from every hierarchy and moves its processes to the nearest parent that takes them. A missing
    /// cgroup is no error.
    package func remove() {
        for hierarchy in hierarchies.all { Self.empty(hierarchy.path + path, below: hierarchy.path) }
        removeDirectories { directory, root in
            Self.empty(directory, below: root)
            return true
        }
    }

    /// Removes the cgroup from every hierarchy where it has no process and no cgroup below. A missing cgroup is no
    /// error.
    package func removeEmpty() { removeDirectories { directory, _ in Self.processes(in: directory).isEmpty } }

    /// The kernel moves no process that exits, and one with much memory keeps its cgroup busy for a while.
    /// - Parameter mayWait: called for a busy directory, with its hierarchy's root.
    private func removeDirectories(while mayWait: (_ directory: String, _ root: String) -> Bool) {
        let deadline = ContinuousClock.now + Deadline.cgroupRelease.limit
        for hierarchy in hierarchies.all {
            let directory = hierarchy.path + path
            // SAFETY: the call only reads the path.
            while unsafe rmdir(directory) != 0, errno == EBUSY, .now < deadline, !Self.hasChildren(directory),
                mayWait(directory, hierarchy.path)
            {
                usleep(Self.attemptPause)
            }
        }
    }

    private static func empty(_ directory: String, below root: String) {
        for process in processes(in: directory) { moveUp(process, from: directory, to: root) }
    }

    private static func processes(in directory: String) -> [String] {
        ((try? Files.readText(directory + "/cgroup.procs")) ?? "").split(separator: "\n").map(String.init)
    }

    /// Whether there are cgroups below.
    private static func hasChildren(_ directory: String) -> Bool {
        Files.list(directory).contains { Files.isDirectory(directory + "/" + $0) }
    }

    /// Microseconds.
    private static let attemptPause: UInt32 = 10_000
}
