import OCISpec

/// What becomes of a process between its clone and its exec; numbers only, nothing left to look up but users' homes.
package struct ProcessPlan: Codable, Equatable, Sendable {
    package var arguments: [String]
    package var environment: [String]
    package var directory: String
    package var terminal: Bool
    package var rows: UInt16
    package var columns: UInt16
    package var user: UInt32
    package var group: UInt32
    package var groups: [UInt32]
    package var umask: UInt32
    package var capabilities: Capabilities?
    package var limits: [Limit]
    package var noNewPrivileges: Bool
    package var oomScoreAdjustment: Int?

    /// Bits by capability number.
    package struct Capabilities: Codable, Equatable, Sendable {
        package var bounding: UInt64
        package var effective: UInt64
        package var inheritable: UInt64
        package var permitted: UInt64
        package var ambient: UInt64
    }

    package struct Limit: Codable, Equatable, Sendable {
        package var resource: Int32
        package var soft: UInt64
        package var hard: UInt64
    }

    /// Resources in the kernel's order (asm-generic/resource.h).
    private static let resources = [
        "CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING",
        "MSGQUEUE", "NICE",
        "RTPRIO", "RTTIME",
    ]

    /// - Throws: `PlanError` with the field's path below `process`.
    package init(_ process: OCISpec.Process) throws(PlanError) {
        guard let args = process.args, !args.isEmpty else { throw PlanError("process.args", "no command to run") }
        if let profile = process.apparmorProfile, !profile.isEmpty, profile != "unconfined" {
            throw PlanError("process.apparmorProfile", "the guest's kernel has no AppArmor")
        }
        if let label = process.selinuxLabel, !label.isEmpty {
            throw PlanError("process.selinuxLabel", "the guest's kernel has no SELinux")
        }
        arguments = args
        environment = process.env ?? []
        directory = process.cwd.isEmpty ? "/" : process.cwd
        terminal = process.terminal ?? false
        rows = UInt16(clamping: process.consoleSize?.height ?? 0)
        columns = UInt16(clamping: process.consoleSize?.width ?? 0)
        user = process.user.uid
        group = process.user.gid
        groups = process.user.additionalGids ?? []
        umask = process.user.umask ?? 0o022
        noNewPrivileges = process.noNewPrivileges ?? false
        oomScoreAdjustment = process.oomScoreAdj
        if let sets = process.capabilities {
            capabilities = Capabilities(
                bounding: try Capability.mask(sets.bounding, field: "process.capabilities.bounding"),
                effective: try Capability.mask(sets.effective, field: "process.capabilities.effective"),
                inheritable: try Capability.mask(sets.inheritable, field: "process.capabilities.inheritable"),
                permitted: try Capability.mask(sets.permitted, field: "process.capabilities.permitted"),
                ambient: try Capability.mask(sets.ambient, field: "process.capabilities.ambient"))
        }
        limits = []
        for (index, limit) in (process.rlimits ?? []).enumerated() {
            guard limit.type.hasPrefix("RLIMIT_"),
                let resource = Self.resources.firstIndex(of: String(limit.type.dropFirst(7)))
            else {
                throw PlanError("process.rlimits[\(index)].type", "unknown limit \"\(limit.type)\"")
            }
            limits.append(Limit(resource: Int32(resource), soft: limit.soft, hard: limit.hard))
        }
    }
}
