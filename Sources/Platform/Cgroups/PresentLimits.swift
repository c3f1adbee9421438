import LinuxKernel

/// The limits that a cgroup has at present.
extension Cgroup {
    /// A limit, and the cgroup that has it.
    package struct Limit: Sendable, Equatable {
        package let value: UInt64
        /// Path of the cgroup.
        package let path: String

        package init(_ value: UInt64, of path: String) { (self.value, self.path) = (value, path) }
    }

    /// The cgroup above.
    package var parent: Cgroup { Cgroup(Files.parent(of: path), hierarchies) }

    /// The lowest limit of memory in bytes that holds for the cgroup: its own or one above it. nil: no limit.
    package var memoryLimit: Limit? {
        upwards.compactMap { group in group.ownMemoryLimit.map { Limit($0, of: group.path) } }.min {
            $0.value < $1.value
        }
    }

    /// Its own limit of memory in bytes.
    package var ownMemoryLimit: UInt64? {
        number("memory", hierarchies.isUnified ? "memory.max" : "memory.limit_in_bytes").flatMap {
            $0 < Self.noMemoryLimit ? $0 : nil
        }
    }

    /// The memory in use, in bytes; nil without the controller.
    package var usedMemory: UInt64? {
        number("memory", hierarchies.isUnified ? "memory.current" : "memory.usage_in_bytes")
    }

    /// Sets the limit of memory in bytes again; nil: no limit.
    /// - Throws: `SystemError` when the file can't be written, such as EBUSY in version 1 for a limit below the memory
    ///   in use.
    package func resetMemoryLimit(to limit: UInt64?) throws(SystemError) {
        guard let directory = hierarchies.directory("memory", path) else { return }
        let (file, none) = hierarchies.isUnified ? ("memory.max", "max") : ("memory.limit_in_bytes", "-1")
        try Files.write(directory + "/" + file, limit.map { "\($0)" } ?? none)
    }

    /// The pids of the processes whose memory is charged to it.
    package var processes: [Int32] {
        guard let directory = hierarchies.directory("memory", path) else { return [] }
        let text = (try? Files.readText(directory + "/cgroup.procs")) ?? ""
        return text.split(separator: "\n").compactMap { Int32($0) }
    }

    /// Its own limit of processes and threads.
    package var ownTaskLimit: UInt64? { number("pids", "pids.max") }

    /// Version 1 shows a number near the largest one where there is no limit (mm/page_counter.c).
    private static let noMemoryLimit: UInt64 = 1 << 62

    /// The lowest limit of processor time that holds for the cgroup in version 2, as cpu.max has it; nil: no limit.
    package var processorTime: String? {
        let limits = upwards.compactMap { $0.text("cpu", "cpu.max") }.filter { !$0.hasPrefix("max") }
        return limits.min { Self.share($0) < Self.share($1) }
    }

    private static func share(_ limit: String) -> Double {
        let numbers = limit.split(separator: " ").compactMap { Double($0) }
        return numbers.count == 2 && numbers[1] > 0 ? numbers[0] / numbers[1] : .infinity
    }

    /// The processors and memory nodes that its processes have in version 2; its weight.
    package var effectiveProcessors: String? { text("cpuset", "cpuset.cpus.effective") }
    package var effectiveNodes: String? { text("cpuset", "cpuset.mems.effective") }
    package var weight: String? { text("cpu", "cpu.weight") }

    /// Copies the processor time, processors and memory nodes that another cgroup of version 2 has at present.
    /// - Throws: as `write`.
    package func copyProcessorLimits(of other: Cgroup) throws(SystemError) {
        try write("cpu.max", other.processorTime ?? "max")
        for (file, value) in [("cpuset.cpus", other.effectiveProcessors), ("cpuset.mems", other.effectiveNodes)] {
            if let value { try write(file, value) }
        }
    }

    /// Writes a file of version 2, unless its controller is missing here.
    /// - Throws: `SystemError` that names the file and the value, with the kernel's errno.
    package func write(_ file: String, _ value: String) throws(SystemError) {
        guard let directory = hierarchies.all.first.map({ $0.path + path }), Files.exists(directory + "/" + file) else {
            return
        }
        do { try Files.write(directory + "/" + file, value) } catch {
            throw SystemError("set \(file) to \"\(value)\" of", directory, errno: error.code)
        }
    }

    /// The cgroup and those above it, but the root.
    private var upwards: [Cgroup] {
        var (groups, group): ([Cgroup], Cgroup) = ([], self)
        while group.path.count > 1 {
            groups.append(group)
            group = group.parent
        }
        return groups
    }

    private func text(_ controller: String, _ file: String) -> String? {
        guard let directory = hierarchies.directory(controller, path),
            let text = try? Files.readText(directory + "/" + file)
        else { return nil }
        return String(text.split(separator: "\n").first ?? "")
    }

    /// nil for "max".
    private func number(_ controller: String, _ file: String) -> UInt64? {
        text(controller, file).flatMap { UInt64($0) }
    }
}
