import LinuxKernel

/// Checks rules of config.md and config-linux.md that need no machine.
extension Spec {
    /// - Throws: the first broken rule, with the field's path, its value and what is allowed.
    package func validate(source: String) throws(SpecError) {
        let parts = ociVersion.split(separator: ".").map { Int($0.prefix { $0.isNumber }) }
        guard parts.count >= 2, parts[0] == 1 else {
            throw SpecError(
                source, "ociVersion", "\"\(ociVersion)\" is not supported: 1.0.0 and its successors below 2 are")
        }
        guard let root, !root.path.isEmpty else { throw SpecError(source, "root.path", "missing") }
        guard !root.path.utf8.contains(0) else { throw SpecError(source, "root.path", "holds a NUL byte") }
        for (index, mount) in (mounts ?? []).enumerated() {
            let path = "mounts[\(index)]"
            try mount.validatePaths(source: source, at: path)
            try mount.validateOwners(of: linux, source: source, at: path)
            for text in [mount.destination, mount.source ?? ""] + (mount.options ?? []) where text.utf8.contains(0) {
                throw SpecError(source, path, "holds a NUL byte")
            }
        }
        for (stage, list) in hooks?.stages ?? [] {
            for (index, hook) in list.enumerated() {
                let path = "hooks.\(stage)[\(index)]"
                try requireAbsolute(source, path + ".path", hook.path)
                guard hook.timeout.map({ $0 > 0 }) ?? true else {
                    throw SpecError(source, path + ".timeout", "\(hook.timeout ?? 0) is not above zero")
                }
            }
        }
        try process?.validate(source: source, at: "process.")
        try linux?.validate(source: source)
        let kinds = Set((linux?.namespaces ?? []).map(\.type))
        for (field, value) in [("hostname", hostname), ("domainname", domainname)]
        where !(value ?? "").isEmpty && !kinds.contains("uts") {
            // Managers leave both out for a container in the host's network.
            let network = kinds.contains("network") ? "" : "; host networking is not possible in a machine"
            throw SpecError(source, field, "needs a uts namespace of the container's own (linux.namespaces)" + network)
        }
    }
}

extension Hooks {
    /// The lists of hooks that aren't empty, by field name, in the order in which they run.
    package var stages: [(name: String, hooks: [Hook])] {
        [
            ("prestart", prestart), ("createRuntime", createRuntime), ("createContainer", createContainer),
            ("startContainer", startContainer), ("poststart", poststart), ("poststop", poststop),
        ].compactMap { name, hooks in (hooks ?? []).isEmpty ? nil : (name, hooks ?? []) }
    }
}

extension Process {
    /// - Parameter prefix: the process's path in its document, with a dot at the end.
    /// - Throws: the first broken rule.
    package func validate(source: String, at prefix: String = "") throws(SpecError) {
        guard let args, let first = args.first, !first.isEmpty else {
            throw SpecError(source, prefix + "args", "no command to run")
        }
        try requireAbsolute(source, prefix + "cwd", cwd)
        for text in args + (env ?? []) where text.utf8.contains(0) {
            throw SpecError(source, prefix + "args or env", "holds a NUL byte")
        }
        for (index, variable) in (env ?? []).enumerated() where !variable.contains("=") || variable.hasPrefix("=") {
            throw SpecError(source, prefix + "env[\(index)]", "\"\(variable)\" is not of the form NAME=value")
        }
        try validateLimits(source, prefix)
        if let adjustment = oomScoreAdj, !(-1000...1000).contains(adjustment) {
            throw SpecError(source, prefix + "oomScoreAdj", "\(adjustment) is not within -1000 to 1000")
        }
        try validateScheduling(source, prefix)
    }

    /// A warning for each unknown capability, which is left out and no error (config.md, "Linux Process").
    package func warnings(at prefix: String = "") -> [String] {
        (capabilities?.sets ?? []).flatMap { set, names in
            names.enumerated()
                .filter { KernelNames.number(of: $1, prefix: "CAP_", in: KernelNames.capabilities) == nil }
                .map {
                    "\(prefix)capabilities.\(set)[\($0)]: unknown capability \"\($1)\" is left out (capabilities(7))"
                }
        }
    }

    private func validateLimits(_ source: String, _ prefix: String) throws(SpecError) {
        var seen: Set<String> = []
        for (index, limit) in (rlimits ?? []).enumerated() {
            let path = "\(prefix)rlimits[\(index)]"
            guard limit.type.hasPrefix("RLIMIT_"),
                KernelNames.number(of: limit.type, prefix: "RLIMIT_", in: KernelNames.limits) != nil
            else { throw SpecError(source, path + ".type", "unknown limit \"\(limit.type)\" (getrlimit(2))") }
            guard seen.insert(limit.type).inserted else {
                throw SpecError(source, path + ".type", "\(limit.type) is given twice")
            }
            guard limit.soft <= limit.hard else {
                throw SpecError(source, path + ".soft", "\(limit.soft) is above the hard limit \(limit.hard)")
            }
        }
    }

    private func validateScheduling(_ source: String, _ prefix: String) throws(SpecError) {
        if let scheduler {
            try member(source, prefix + "scheduler.policy", scheduler.policy, KernelNames.schedulers)
            for (index, flag) in (scheduler.flags ?? []).enumerated() {
                try member(source, "\(prefix)scheduler.flags[\(index)]", flag, KernelNames.schedulerFlags)
            }
            if let nice = scheduler.nice, !(-20...19).contains(nice) {
                throw SpecError(source, prefix + "scheduler.nice", "\(nice) is not within -20 to 19")
            }
            let isRealTime = ["SCHED_FIFO", "SCHED_RR"].contains(scheduler.policy)
            if let priority = scheduler.priority, !(isRealTime ? 1...99 : 0...0).contains(priority) {
                throw SpecError(
                    source, prefix + "scheduler.priority",
                    "\(priority) does not go with \(scheduler.policy): SCHED_FIFO and SCHED_RR take 1 to 99, others 0")
            }
            let times = [scheduler.runtime, scheduler.deadline, scheduler.period].compactMap { $0 }
            if scheduler.policy != "SCHED_DEADLINE", times.contains(where: { $0 != 0 }) {
                throw SpecError(
                    source, prefix + "scheduler", "runtime, deadline and period go with SCHED_DEADLINE alone")
            }
        }
        if let ioPriority {
            try member(source, prefix + "ioPriority.class", ioPriority.class, Array(KernelNames.ioClasses.dropFirst()))
            if let priority = ioPriority.priority, !(0...7).contains(priority) {
                throw SpecError(source, prefix + "ioPriority.priority", "\(priority) is not within 0 to 7")
            }
        }
        for (name, list) in [("initial", execCPUAffinity?.initial), ("final", execCPUAffinity?.final)] {
            if let list, !list.isEmpty, CPUList(list) == nil {
                throw SpecError(
                    source, "\(prefix)execCPUAffinity.\(name)", "\"\(list)\" is no list of processors such as 0-3,7")
            }
        }
    }
}

extension Process.Capabilities {
    package var sets: [(name: String, capabilities: [String])] {
        [
            ("bounding", bounding), ("effective", effective), ("inheritable", inheritable), ("permitted", permitted),
            ("ambient", ambient),
        ].map { ($0, $1 ?? []) }
    }

    /// The sets with further capabilities for an exec, as runc has them: ambient ones only where inheritable ones are
    /// listed, as an ambient capability must be inheritable (capabilities(7)).
    package func adding(_ names: [String]) -> Self {
        var result = self
        result.bounding = (bounding ?? []) + names
        result.effective = (effective ?? []) + names
        result.permitted = (permitted ?? []) + names
        if inheritable != nil { result.ambient = (ambient ?? []) + names }
        return result
    }
}

extension Linux {
    func validate(source: String) throws(SpecError) {
        var seen: Set<String> = []
        for (index, namespace) in (namespaces ?? []).enumerated() {
            let path = "linux.namespaces[\(index)].type"
            try member(source, path, namespace.type, KernelNames.namespaces)
            guard seen.insert(namespace.type).inserted else {
                throw SpecError(source, path, "\"\(namespace.type)\" is given twice")
            }
            if let file = namespace.path, !file.isEmpty {
                try requireAbsolute(source, "linux.namespaces[\(index)].path", file)
            }
        }
        try validateUsers(source, hasNamespace: seen.contains("user"))
        if let offsets = timeOffsets, !offsets.isEmpty {
            guard seen.contains("time") else {
                throw SpecError(source, "linux.timeOffsets", "needs a time namespace (linux.namespaces)")
            }
            for (clock, offset) in offsets.sorted(by: { $0.key < $1.key }) {
                try member(source, "linux.timeOffsets", clock, ["monotonic", "boottime"])
                guard offset.nanosecs ?? 0 < 1_000_000_000 else {
                    throw SpecError(
                        source, "linux.timeOffsets.\(clock).nanosecs", "\(offset.nanosecs ?? 0) is a second or more")
                }
            }
        }
        for (index, device) in (devices ?? []).enumerated() {
            let path = "linux.devices[\(index)]"
            try member(source, path + ".type", device.type, ["c", "b", "u", "p"])
            try requireAbsolute(source, path + ".path", device.path)
            guard device.type == "p" || device.major != nil && device.minor != nil else {
                throw SpecError(source, path, "major and minor are missing")
            }
        }
        for name in (sysctl ?? [:]).keys.sorted()
        where name.isEmpty || name.hasPrefix("/") || name.split(whereSeparator: { "./".contains($0) }).isEmpty
            || name.contains("..") || name.utf8.contains(0)
        { throw SpecError(source, "linux.sysctl", "\"\(name)\" is no name of a setting") }
        if let name = rootfsPropagation, !name.isEmpty {
            try member(source, "linux.rootfsPropagation", name, KernelNames.propagations)
        }
        for (field, paths) in [("maskedPaths", maskedPaths), ("readonlyPaths", readonlyPaths)] {
            for (index, path) in (paths ?? []).enumerated() {
                try requireAbsolute(source, "linux.\(field)[\(index)]", path)
            }
        }
        if let personality {
            try member(source, "linux.personality.domain", personality.domain, ["LINUX", "LINUX32"])
            try refuse(source, "linux.personality.flags", personality.flags, "no flag is defined yet")
        }
        if intelRdt != nil {
            throw SpecError(source, "linux.intelRdt", "cache allocation of the host does not reach into a guest")
        }
        if memoryPolicy != nil {
            throw SpecError(source, "linux.memoryPolicy", "memory nodes of the host do not reach into a guest")
        }
        if let path = seccomp?.listenerPath, !path.isEmpty {
            try requireAbsolute(source, "linux.seccomp.listenerPath", path)
        }
        try seccomp?.validate(source: source)
        try resources?.validate(source: source, at: "linux.resources.")
    }

    private func validateUsers(_ source: String, hasNamespace: Bool) throws(SpecError) {
        for (field, mappings) in [("uidMappings", uidMappings), ("gidMappings", gidMappings)] {
            guard let mappings, !mappings.isEmpty else { continue }
            guard hasNamespace else {
                throw SpecError(source, "linux." + field, "needs a user namespace (linux.namespaces)")
            }
            try IDMapping.validate(mappings, source, "linux." + field)
        }
        let own = (namespaces ?? []).contains { $0.type == "user" && ($0.path ?? "").isEmpty }
        if own, (uidMappings ?? []).isEmpty || (gidMappings ?? []).isEmpty {
            throw SpecError(source, "linux.uidMappings, linux.gidMappings", "a new user namespace needs both")
        }
    }
}

extension IDMapping {
    /// The maximum of ranges, and of bytes of their lines together: less than a page (user_namespaces(7)).
    private static let maxRanges = 340
    private static let maxBytes = 4095

    /// - Parameter path: the list's place in its document.
    /// - Throws: `SpecError` for too many ranges, an empty one, one beyond the last id, or two with the same id.
    static func validate(_ list: [IDMapping]?, _ document: String, _ path: String) throws(SpecError) {
        let list = list ?? []
        guard list.count <= maxRanges else {
            throw SpecError(document, path, "more than \(maxRanges) ranges (user_namespaces(7))")
        }
        let bytes = list.reduce(0) { $0 + "\($1.containerID) \($1.hostID) \($1.size)\n".utf8.count }
        guard bytes <= maxBytes else {
            throw SpecError(document, path, "\(bytes) bytes of ranges, more than \(maxBytes) (user_namespaces(7))")
        }
        for (index, mapping) in list.enumerated() {
            guard mapping.size > 0, !mapping.containerID.addingReportingOverflow(mapping.size).overflow,
                !mapping.hostID.addingReportingOverflow(mapping.size).overflow
            else {
                throw SpecError(
                    document, "\(path)[\(index)].size", "\(mapping.size) is zero or goes beyond the last id")
            }
            if let earlier = list[..<index].firstIndex(where: mapping.overlaps) {
                throw SpecError(document, "\(path)[\(index)]", "has ids of range \(earlier) too")
            }
        }
    }

    /// Whether both have an id of the container, or of the host. The sums don't overflow.
    private func overlaps(_ other: IDMapping) -> Bool {
        func meet(_ one: UInt32, _ another: UInt32) -> Bool { one < another + other.size && another < one + size }
        return meet(containerID, other.containerID) || meet(hostID, other.hostID)
    }
}

extension Linux.Resources {
    /// - Parameter prefix: the resources' path in their document, with a dot at the end.
    /// - Throws: the first broken rule.
    package func validate(source: String, at prefix: String = "") throws(SpecError) {
        func reject(_ field: String, _ isGiven: Bool, _ reason: String) throws(SpecError) {
            if isGiven { throw SpecError(source, prefix + field, reason) }
        }
        for (index, rule) in (devices ?? []).enumerated() {
            let path = "\(prefix)devices[\(index)]"
            if let type = rule.type { try member(source, path + ".type", type, ["a", "b", "c", ""]) }
            if let access = rule.access, let letter = access.first(where: { !"rwm".contains($0) }) {
                throw SpecError(source, path + ".access", "\"\(letter)\" is none of r, w, m")
            }
        }
        if let memory {
            let limit = memory.limit ?? 0
            if let swap = memory.swap, swap > 0, swap < limit {
                throw SpecError(
                    source, prefix + "memory.swap",
                    "\(swap) is below memory.limit \(limit), which it includes (config-linux.md, Memory)")
            }
            try reject("memory.swappiness", (memory.swappiness ?? 60) != 60, "cgroup v2 has no swappiness of a group")
            try reject(
                "memory.disableOOMKiller", memory.disableOOMKiller ?? false,
                "cgroup v2 can't switch the OOM killer off")
            try reject("memory.kernelTCP", memory.kernelTCP ?? 0 > 0, "cgroup v2 has no limit for TCP buffers alone")
        }
        if let cpu {
            for (field, isGiven) in [
                ("Runtime", (cpu.realtimeRuntime ?? 0) != 0), ("Period", (cpu.realtimePeriod ?? 0) != 0),
            ] { try reject("cpu.realtime" + field, isGiven, "cgroup v2 has no real-time bandwidth") }
            if let idle = cpu.idle, !(0...1).contains(idle) {
                throw SpecError(source, prefix + "cpu.idle", "\(idle) is neither 0 nor 1")
            }
            for (field, list) in [("cpus", cpu.cpus), ("mems", cpu.mems)] {
                if let list, !list.isEmpty, CPUList(list) == nil {
                    throw SpecError(source, prefix + "cpu." + field, "\"\(list)\" is no list such as 0-3,7")
                }
            }
        }
        if let blockIO {
            let weights =
                [("weight", blockIO.weight)]
                + (blockIO.weightDevice ?? []).enumerated().map { ("weightDevice[\($0)].weight", $1.weight) }
            for (field, weight) in weights {
                if let weight, weight != 0, !(10...1000).contains(weight) {
                    throw SpecError(source, prefix + "blockIO." + field, "\(weight) is not within 10 to 1000")
                }
            }
            let leaves =
                [("leafWeight", blockIO.leafWeight)]
                + (blockIO.weightDevice ?? []).enumerated().map { ("weightDevice[\($0)].leafWeight", $1.leafWeight) }
            for (field, weight) in leaves {
                try reject("blockIO." + field, (weight ?? 0) != 0, "cgroup v2 has no weight of leaves")
            }
        }
        for (index, limit) in (hugepageLimits ?? []).enumerated() {
            let digits = limit.pageSize.dropLast(2)
            guard ["KB", "MB", "GB"].contains(limit.pageSize.suffix(2)), !digits.isEmpty, digits.first != "0",
                digits.allSatisfy({ $0.isASCII && $0.isNumber })
            else {
                throw SpecError(
                    source, "\(prefix)hugepageLimits[\(index)].pageSize", "\"\(limit.pageSize)\" is no size such as 2MB"
                )
            }
        }
        try reject(
            "network", network.map { ($0.classID ?? 0) != 0 || !($0.priorities ?? []).isEmpty } ?? false,
            "cgroup v2 has no classes or priorities of network traffic")
        for name in (unified ?? [:]).keys.sorted()
        where name.contains("/") || !name.contains(".") || name.utf8.contains(0) {
            throw SpecError(source, prefix + "unified", "\"\(name)\" is no file of a cgroup")
        }
    }
}

func member(_ source: String, _ path: String, _ value: String, _ allowed: [String]) throws(SpecError) {
    guard allowed.contains(value) else {
        let list = allowed.filter { !$0.isEmpty }.joined(separator: ", ")
        throw SpecError(source, path, "\"\(value)\" is none of \(list)")
    }
}

private func refuse<Value>(_ source: String, _ path: String, _ list: [Value]?, _ reason: String) throws(SpecError) {
    if let list, !list.isEmpty { throw SpecError(source, path, reason) }
}
