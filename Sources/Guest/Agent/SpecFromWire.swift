import AgentAPI
import FoundationEssentials
import OCISpec
import TTRPC

// A host that knows this agent sends the specification's own JSON: the older messages have no place for some of its fields, and
// can't tell zero from absent.

extension Grpc_CreateContainerRequest {
    func specification() throws -> OCISpec.Spec {
        specJson.isEmpty ? OCISpec.Spec(oci) : try decode(specJson, "config.json")
    }
}

extension Grpc_ExecProcessRequest {
    func specification() throws -> OCISpec.Process {
        processJson.isEmpty ? OCISpec.Process(process) : try decode(processJson, "process.json")
    }
}

extension Grpc_UpdateContainerRequest {
    func limits() throws -> OCISpec.Linux.Resources {
        resourcesJson.isEmpty ? OCISpec.Linux.Resources(resources) : try decode(resourcesJson, "resources.json")
    }
}

private func decode<Value: Decodable>(_ bytes: Data, _ name: String) throws(RPCError) -> Value {
    do { return try Value.decode(json: Array(bytes), source: name) } catch {
        throw RPCError(.invalidArgument, error.description)
    }
}

extension OCISpec.Spec {
    /// The specification as the host sent it (oci.proto). Zero and empty mean absent there.
    init(_ wire: Grpc_Spec) {
        self.init(ociVersion: wire.version)
        process = wire.hasProcess ? OCISpec.Process(wire.process) : nil
        root = wire.hasRoot ? OCISpec.Root(path: wire.root.path, readonly: wire.root.readonly) : nil
        hostname = wire.hostname
        annotations = wire.annotations
        mounts = wire.mounts.map {
            OCISpec.Mount(
                destination: $0.destination, type: $0.type, source: $0.source.isEmpty ? nil : $0.source,
                options: $0.options)
        }
        guard wire.hasLinux else { return }
        var linux = OCISpec.Linux()
        linux.sysctl = wire.linux.sysctl
        linux.cgroupsPath = wire.linux.cgroupsPath
        linux.rootfsPropagation = wire.linux.rootfsPropagation
        linux.maskedPaths = wire.linux.maskedPaths
        linux.readonlyPaths = wire.linux.readonlyPaths
        linux.namespaces = wire.linux.namespaces.map { OCISpec.Linux.Namespace(type: $0.type, path: $0.path) }
        if wire.linux.hasSeccomp { linux.seccomp = OCISpec.Linux.Seccomp(wire.linux.seccomp) }
        if wire.linux.hasResources { linux.resources = OCISpec.Linux.Resources(wire.linux.resources) }
        self.linux = linux
    }
}

extension OCISpec.Linux.Seccomp {
    init(_ wire: Grpc_LinuxSeccomp) {
        self.init(defaultAction: wire.defaultAction)
        architectures = wire.architectures
        flags = wire.flags
        syscalls = wire.syscalls.map { call in
            Rule(
                names: call.names, action: call.action, errnoRet: call.errnoRet == nil ? nil : call.errnoret,
                args: call.args.map {
                    Argument(
                        index: UInt32(clamping: $0.index), value: $0.value, valueTwo: $0.valueTwo, op: $0.op)
                })
        }
    }
}

extension OCISpec.Linux.Resources {
    init(_ wire: Grpc_LinuxResources) {
        self.init()
        if wire.hasMemory {
            var memory = Memory()
            memory.limit = wire.memory.limit
            memory.reservation = wire.memory.reservation
            memory.swap = wire.memory.swap
            self.memory = memory
        }
        if wire.hasCpu {
            var cpu = CPU()
            cpu.shares = wire.cpu.shares
            cpu.quota = wire.cpu.quota
            cpu.period = wire.cpu.period
            cpu.cpus = wire.cpu.cpus
            cpu.mems = wire.cpu.mems
            self.cpu = cpu
        }
        if wire.hasPids {
            var pids = Pids()
            pids.limit = wire.pids.limit
            self.pids = pids
        }
    }
}

extension OCISpec.Process {
    init(_ wire: Grpc_Process) {
        self.init(args: wire.args, cwd: wire.cwd)
        terminal = wire.terminal
        if wire.hasConsoleSize {
            consoleSize = Box(height: UInt(wire.consoleSize.height), width: UInt(wire.consoleSize.width))
        }
        user.uid = wire.user.uid
        user.gid = wire.user.gid
        user.additionalGids = wire.user.additionalGids
        env = wire.env
        noNewPrivileges = wire.noNewPrivileges
        apparmorProfile = wire.apparmorProfile
        selinuxLabel = wire.selinuxLabel
        if wire.oomscoreAdj != 0 { oomScoreAdj = Int(wire.oomscoreAdj) }
        rlimits = wire.rlimits.map { Rlimit(type: $0.type, hard: $0.hard, soft: $0.soft) }
        if wire.hasCapabilities {
            var sets = Capabilities()
            sets.bounding = wire.capabilities.bounding
            sets.effective = wire.capabilities.effective
            sets.inheritable = wire.capabilities.inheritable
            sets.permitted = wire.capabilities.permitted
            sets.ambient = wire.capabilities.ambient
            capabilities = sets
        }
    }
}
