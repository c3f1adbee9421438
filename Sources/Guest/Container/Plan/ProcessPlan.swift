import LinuxKernel
import OCISpec

/// The settings of a process between its clone and its exec. Names are numbers already, but for users' homes.
package struct ProcessPlan: Equatable, Sendable {
    package var arguments: [String] = []
    /// One value for each name. HOME is left out where it is empty.
    package var environment: [String] = []
    package var directory = ""
    package var terminal = false
    package var rows: UInt16 = 0
    package var columns: UInt16 = 0
    package var user: UInt32 = 0
    package var group: UInt32 = 0
    package var groups: [UInt32] = []
    package var umask: UInt32 = 0
    package var capabilities: Capabilities?
    package var limits: [Limit] = []
    package var noNewPrivileges = false
    package var oomScoreAdjustment: Int?
    package var scheduler: Scheduler?
    package var ioPriority: IOPriority?
    /// Processors to run on before and after the process joins its container; empty changes nothing.
    package var initialProcessors: [Int32] = []
    package var finalProcessors: [Int32] = []
    /// The security module's setting for the next exec; nil for none.
    package var securityProfile: SecurityProfile?

    /// Sets of capabilities; bit n for the capability of number n.
    package struct Capabilities: Equatable, Sendable {
        package var bounding: UInt64 = 0
        package var effective: UInt64 = 0
        package var inheritable: UInt64 = 0
        package var permitted: UInt64 = 0
        package var ambient: UInt64 = 0
    }

    package struct Limit: Equatable, Sendable {
        package var resource: Int32 = 0
        package var soft: UInt64 = 0
        package var hard: UInt64 = 0
    }

    package struct Scheduler: Equatable, Sendable {
        package var policy: UInt32 = 0
        package var priority: UInt32 = 0
        package var nice: Int32 = 0
        package var flags: UInt64 = 0
        package var runtime: UInt64 = 0
        package var deadline: UInt64 = 0
        package var period: UInt64 = 0
    }

    package struct IOPriority: Equatable, Sendable {
        package var `class`: Int32 = 0
        package var level: Int32 = 0
    }

    package enum SecurityProfile: Equatable, Sendable {
        case appArmor(String)
        case seLinux(String)
    }

    init() {}

    /// - Throws: `PlanError` with the field's path below `process`.
    package init(_ process: OCISpec.Process) throws(PlanError) {
        guard let args = process.args, !args.isEmpty else { throw PlanError("process.args", "no command to run") }
        do { try process.validate(source: "process") } catch { throw PlanError("process." + error.path, error.reason) }
        arguments = args
        environment = Environment.lastOfEach(process.env ?? []).filter { $0 != "HOME=" }
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
                policy: UInt32(KernelNames.schedulers.firstIndex(of: given.policy) ?? 0),
                priority: UInt32(clamping: given.priority ?? 0), nice: given.nice ?? 0,
                flags: (given.flags ?? []).reduce(into: UInt64(0)) { flags, name in
                    if let bit = KernelNames.schedulerFlags.firstIndex(of: name) { flags |= 1 << UInt64(bit) }
                }, runtime: given.runtime ?? 0, deadline: given.deadline ?? 0, period: given.period ?? 0)
        }
        if let given = process.ioPriority {
            ioPriority = IOPriority(
                class: Int32(KernelNames.ioClasses.firstIndex(of: given.class) ?? 0), level: Int32(given.priority ?? 0))
        }
        func processors(_ list: String?) -> [Int32] {
            (CPUList(list ?? "")?.sorted ?? []).map(Int32.init)
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
        for (index, limit) in (process.rlimits ?? []).enumerated() {
            guard let resource = KernelNames.number(of: limit.type, prefix: "RLIMIT_", in: KernelNames.limits) else {
                throw PlanError("process.rlimits[\(index)].type", "unknown limit \"\(limit.type)\"")
            }
            limits.append(Limit(resource: Int32(resource), soft: limit.soft, hard: limit.hard))
        }
    }
}

// MARK: To the process itself

extension ProcessPlan: PlanCodable {
    mutating func code(_ coder: inout PlanCoder) {
        coder.code(&arguments)
        coder.code(&environment)
        coder.code(&directory)
        coder.code(&terminal)
        coder.code(&rows)
        coder.code(&columns)
        coder.code(&user)
        coder.code(&group)
        coder.code(&groups)
        coder.code(&umask)
        coder.code(&capabilities)
        coder.code(&limits)
        coder.code(&noNewPrivileges)
        coder.code(&oomScoreAdjustment)
        coder.code(&scheduler)
        coder.code(&ioPriority)
        coder.code(&initialProcessors)
        coder.code(&finalProcessors)
        coder.code(&securityProfile)
    }
}

extension ProcessPlan.Capabilities: PlanCodable {
    mutating func code(_ coder: inout PlanCoder) {
        coder.code(&bounding)
        coder.code(&effective)
        coder.code(&inheritable)
        coder.code(&permitted)
        coder.code(&ambient)
    }
}

extension ProcessPlan.Limit: PlanCodable {
    mutating func code(_ coder: inout PlanCoder) {
        coder.code(&resource)
        coder.code(&soft)
        coder.code(&hard)
    }
}

extension ProcessPlan.Scheduler: PlanCodable {
    mutating func code(_ coder: inout PlanCoder) {
        coder.code(&policy)
        coder.code(&priority)
        coder.code(&nice)
        coder.code(&flags)
        coder.code(&runtime)
        coder.code(&deadline)
        coder.code(&period)
    }
}

extension ProcessPlan.IOPriority: PlanCodable {
    mutating func code(_ coder: inout PlanCoder) {
        coder.code(&`class`)
        coder.code(&level)
    }
}

extension ProcessPlan.SecurityProfile: PlanCodable {
    init() { self = .appArmor("") }

    mutating func code(_ coder: inout PlanCoder) {
        var (isSELinux, name) =
            switch self {
            case .appArmor(let name): (false, name)
            case .seLinux(let label): (true, label)
            }
        coder.code(&isSELinux)
        coder.code(&name)
        self = isSELinux ? .seLinux(name) : .appArmor(name)
    }
}
