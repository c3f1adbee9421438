import Glibc
import LinuxKernel

/// A control group of the host, by its path below each hierarchy.
package struct ControlGroup: Sendable, Equatable {
    /// `/docker/kata_0123`: begins with a slash, has no `..`.
    package let path: String
    private let hierarchies: Hierarchies

    package init(_ path: String, _ hierarchies: Hierarchies = .current) {
        (self.path, self.hierarchies) = (path, hierarchies)
    }

    /// Where a manager wants a container's group, and what of it is the sandbox's: the last name with Kata's prefix.
    /// - Parameters:
    ///   - given: `linux.cgroupsPath`: a path, or `slice:prefix:name` of systemd (runc, docs/systemd.md).
    ///   - sandbox: its group where nothing is given.
    package static func path(_ given: String, sandbox: String) -> String {
        let parts = given.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        let full: String
        if parts.count == 3 {
            let slice = parts[0].isEmpty ? "system.slice" : parts[0]
            full = expand(slice: slice) + "/\(parts[1])-\(parts[2]).scope"
        } else {
            full = given
        }
        var names = full.split(separator: "/").map(String.init).filter { $0 != "." && $0 != ".." }
        guard let last = names.popLast() else { return "/vc/kata_\(sandbox)" }
        return (names + ["kata_" + last]).reduce("") { $0 + "/" + $1 }
    }

    /// `a-b.slice` lies in `a.slice` (systemd.slice(5)).
    private static func expand(slice: String) -> String {
        guard slice.hasSuffix(".slice"), slice != "-.slice" else { return "" }
        var path = ""
        var name = ""
        for part in slice.dropLast(".slice".count).split(separator: "-") {
            name += (name.isEmpty ? "" : "-") + part
            path += "/\(name).slice"
        }
        return path
    }

    /// Makes it in every hierarchy, with the processors and memory nodes of the group above where it has none (cpuset(7)).
    package func make() throws(SystemError) {
        for hierarchy in hierarchies.all {
            var directory = hierarchy.path
            for name in path.split(separator: "/") {
                let above = directory
                directory += "/" + name
                if hierarchies.isUnified { Self.passDown(above) }
                if mkdir(directory, 0o755) != 0, errno != EEXIST {
                    throw SystemError("make control group", directory, errno: errno)
                }
                if hierarchy.controllers.contains("cpuset") {
                    for file in ["cpuset.cpus", "cpuset.mems"] { try Self.inherit(file, directory, above) }
                }
            }
        }
    }

    /// Lets the groups below have every controller; one that holds processes of its own may not (cgroup-v2.rst, "No Internal Process
    /// Constraint"), and a limit that needs it says so.
    private static func passDown(_ directory: String) {
        let controllers = ((try? Files.readText(directory + "/cgroup.controllers")) ?? "").split(
            whereSeparator: \.isWhitespace)
        for controller in controllers { try? Files.write(directory + "/cgroup.subtree_control", "+" + controller) }
    }

    private static func inherit(_ file: String, _ directory: String, _ above: String) throws(SystemError) {
        guard try Files.readText(directory + "/" + file).allSatisfy(\.isWhitespace) else { return }
        try Files.write(directory + "/" + file, try Files.readText(above + "/" + file))
    }

    /// Moves a process here with all its threads; what it starts later is born here.
    package func add(_ process: Int32) throws(SystemError) {
        for hierarchy in hierarchies.all { try Files.write(hierarchy.path + path + "/cgroup.procs", "\(process)") }
    }

    /// Moves a process of it to the group above.
    package func leave(_ process: Int32) {
        for hierarchy in hierarchies.all { Self.moveUp("\(process)", from: hierarchy.path + path, to: hierarchy.path) }
    }

    /// To the nearest group above that takes processes: in version 2 none does that gives controllers on, but for the root
    /// (cgroup-v2.rst, "No Internal Process Constraint").
    private static func moveUp(_ process: String, from directory: String, to root: String) {
        var directory = directory
        while directory != root, directory.count > root.count {
            directory = Files.parent(of: directory)
            if (try? Files.write(directory + "/cgroup.procs", process)) != nil { return }
        }
    }

    /// - Parameters: as in `linux.resources.cpu`: the host's numbers; nil and empty leave what is there.
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
            // 2 … 262144 become 1 … 10000 (runc's rule for version 2).
            let weight = 1 + (max(2, min(shares, 262_144)) - 2) * 9999 / 262_142
            let (file, value) = hierarchies.isUnified ? ("cpu.weight", weight) : ("cpu.shares", shares)
            guard Files.exists(directory + "/" + file) else { return }
            try Files.write(directory + "/" + file, "\(value)")
        }
    }

    /// How much its processes may use together.
    package struct Limits: Sendable, Equatable {
        /// Bytes of memory; nil: no limit.
        package var memory: UInt64?
        /// Number of processes and threads; nil: no limit.
        package var tasks: UInt64?

        package init(memory: UInt64? = nil, tasks: UInt64? = nil) { (self.memory, self.tasks) = (memory, tasks) }
    }

    /// Sets its limits (cgroup-v2.rst, "memory.max" and "pids.max"; in version 1 memory.rst, "memory.limit_in_bytes").
    /// - Returns: the controllers that this host lacks: what they would limit is not limited.
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

    /// Whether the kernel has killed in it because a limit of memory, its own or of a group above, was reached (cgroups, memory).
    package var hasKilledForMemory: Bool {
        guard let directory = hierarchies.directory("memory", path) else { return false }
        let text =
            (try? Files.readText(directory + (hierarchies.isUnified ? "/memory.events" : "/memory.oom_control"))) ?? ""
        return text.split(separator: "\n").contains { $0.hasPrefix("oom_kill ") && $0 != "oom_kill 0" }
    }

    /// Takes it away from every hierarchy. Who is still in it goes to the group above. Nothing there is nothing to do.
    package func remove() {
        for hierarchy in hierarchies.all {
            let directory = hierarchy.path + path
            guard Files.exists(directory) else { continue }
            for process in ((try? Files.readText(directory + "/cgroup.procs")) ?? "").split(separator: "\n") {
                Self.moveUp(String(process), from: directory, to: hierarchy.path)
            }
            // The kernel may take its time with who has ended.
            for _ in 0..<50 {
                guard rmdir(directory) != 0, errno == EBUSY else { break }
                usleep(10_000)
            }
        }
    }
}
