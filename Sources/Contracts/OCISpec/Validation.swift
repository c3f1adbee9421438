extension Spec {
    /// Checks what can be known without a machine: the rules of config.md that every container needs.
    package func validate(source: String) throws(SpecError) {
        let parts = ociVersion.split(separator: ".").map { Int($0.prefix { $0.isNumber }) }
        guard parts.count >= 2, parts[0] == 1 else {
            throw SpecError(source, "ociVersion", "\"\(ociVersion)\" is not supported: 1.0.0 to \(Spec.version) are")
        }
        guard let root, !root.path.isEmpty else { throw SpecError(source, "root.path", "missing") }
        for (index, mount) in (mounts ?? []).enumerated() where !mount.destination.hasPrefix("/") {
            throw SpecError(source, "mounts[\(index)].destination", "\"\(mount.destination)\" is not an absolute path")
        }
        for (index, namespace) in (linux?.namespaces ?? []).enumerated() {
            let known = ["pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"]
            guard known.contains(namespace.type) else {
                throw SpecError(
                    source, "linux.namespaces[\(index)].type",
                    "\"\(namespace.type)\" is none of \(known.joined(separator: ", "))")
            }
        }
        try process?.validate(source: source, at: "process.")
    }
}

extension Spec {
    /// Fields that this runtime reads but does not act on yet, for a warning.
    package var withoutEffect: [String] {
        var fields: [String] = []
        let all = hooks.map {
            [$0.prestart, $0.createRuntime, $0.createContainer, $0.startContainer, $0.poststart, $0.poststop]
        }
        if all?.contains(where: { !($0 ?? []).isEmpty }) == true { fields.append("hooks") }
        if !(linux?.devices ?? []).isEmpty { fields.append("linux.devices") }
        return fields
    }
}

extension Process {
    /// - Parameter prefix: where the process stands in its document, with a dot at the end.
    package func validate(source: String, at prefix: String = "") throws(SpecError) {
        guard let args, let first = args.first, !first.isEmpty else {
            throw SpecError(source, prefix + "args", "no command to run")
        }
        guard cwd.hasPrefix("/") else { throw SpecError(source, prefix + "cwd", "\"\(cwd)\" is not an absolute path") }
        var seen: Set<String> = []
        for (index, limit) in (rlimits ?? []).enumerated() {
            guard seen.insert(limit.type).inserted else {
                throw SpecError(source, prefix + "rlimits[\(index)].type", "\(limit.type) is given twice")
            }
            guard limit.soft <= limit.hard else {
                throw SpecError(
                    source, prefix + "rlimits[\(index)].soft", "\(limit.soft) is above the hard limit \(limit.hard)")
            }
        }
        for text in args + (env ?? []) + [cwd] where text.utf8.contains(0) {
            throw SpecError(source, prefix + "args, env or cwd", "holds a NUL byte")
        }
    }
}
