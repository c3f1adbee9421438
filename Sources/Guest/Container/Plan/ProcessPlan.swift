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
    package var scheduler: Scheduler?
    package var ioPriority: IOPriority?
    /// Processors before and after the process joins its container; empty leaves them.
    package var initialProcessors: [Int32]
    package var finalProcessors: [Int32]
    /// What security modules are told of the next exec; empty tells nothing.
    package var securityProfile: SecurityProfile?

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

    package struct Scheduler: Codable, Equatable, Sendable {
        package var policy: UInt32
        package var priority: UInt32
        package var nice: Int32
        package var flags: UInt64
        package var runtime: UInt64
        package var deadline: UInt64
        package var period: UInt64
    }

    package struct IOPriority: Codable, Equatable, Sendable {
        package var `class`: Int32
        package var level: Int32
    }

    package enum SecurityProfile: Codable, Equatable, Sendable {
        case appArmor(String)
        case seLinux(String)
    }

    /// - Throws: `PlanError` with the field's path below `process`.
    package init(_ process: OCISpec.Process) throws(PlanError) {
        guard let args = process.args, !args.isEmpty else { throw PlanError("process.args", "no command to run") }
        do { try process.validate(source: "process") } catch { throw PlanError("process." + error.path, error.reason) }
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
        if let given = process.scheduler {
            scheduler = Scheduler(
                policy: UInt32(Vocabulary.schedulers.firstIndex(of: given.policy) ?? 0),
                priority: UInt32(clamping: given.priority ?? 0), nice: given.nice ?? 0,
                flags: (given.flags ?? []).reduce(into: UInt64(0)) { flags, name in
                    if let bit = Vocabulary.schedulerFlags.firstIndex(of: name) { flags |= 1 << UInt64(bit) }
                }, runtime: given.runtime ?? 0, deadline: given.deadline ?? 0, period: given.period ?? 0)
        }
        if let given = process.ioPriority {
            ioPriority = IOPriority(
                class: Int32(Vocabulary.ioClasses.firstIndex(of: given.class) ?? 0), level: Int32(given.priority ?? 0))
        }
        func processors(_ list: String?) -> [Int32] {
            (list ?? "").isEmpty ? [] : (Vocabulary.processors(list ?? "") ?? []).map(Int32.init)
        }
        initialProcessors = processors(process.execCPUAffinity?.initial)
        finalProcessors = processors(process.execCPUAffinity?.final)
        if let profile = process.apparmorProfile, !profile.isEmpty, profile != "unconfined" {
            securityProfile = .appArmor(profile)
        } else if let label = process.selinuxLabel, !label.isEmpty {
            securityProfile = .seLinux(label)
        }
        if let sets = process.capabilities {
            capabilities = Capabilities(
                bounding: Capability.mask(sets.bounding),
                effective: Capability.mask(sets.effective),
                inheritable: Capability.mask(sets.inheritable),
                permitted: Capability.mask(sets.permitted),
                ambient: Capability.mask(sets.ambient))
        }
        limits = []
        for (index, limit) in (process.rlimits ?? []).enumerated() {
            guard let resource = Vocabulary.number(of: limit.type, prefix: "RLIMIT_", in: Vocabulary.limits) else {
                throw PlanError("process.rlimits[\(index)].type", "unknown limit \"\(limit.type)\"")
            }
            limits.append(Limit(resource: Int32(resource), soft: limit.soft, hard: limit.hard))
        }
    }
}
