import LinuxKernel
import OCISpec

extension OCISpec.Process {
    /// Adds the caller's resource limits where the specification names none. Under runc a process inherits them; in the
    /// guest it would have those of the guest's init, which differ by image.
    package mutating func addLimits(_ callers: ResourceLimits) {
        let given = Set((rlimits ?? []).map(\.type))
        let missing = zip(KernelNames.limits, callers.values).map { name, limit in
            Rlimit(type: "RLIMIT_" + name, hard: limit.hard, soft: limit.soft)
        }
        rlimits = (rlimits ?? []) + missing.filter { !given.contains($0.type) }
    }
}
