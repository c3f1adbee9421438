import OCISpec

// Converts a specification to the messages of Kata's agents (oci.proto), and back. The messages can't tell zero from
// absent: converted back, zero and empty are absent.

extension Grpc_Spec {
    package init(_ spec: Spec) {
        self.init()
        version = spec.ociVersion
        if let process = spec.process { self.process = Grpc_Process(process) }
        if let root = spec.root {
            self.root.path = root.path
            self.root.readonly = root.readonly ?? false
        }
        hostname = spec.hostname ?? ""
        annotations = spec.annotations ?? [:]
        mounts = (spec.mounts ?? []).map { mount in
            var message = Grpc_Mount()
            message.destination = mount.destination
            message.source = mount.source ?? ""
            message.type = mount.type ?? ""
            message.options = mount.options ?? []
            return message
        }
        if let hooks = spec.hooks { self.hooks = Grpc_Hooks(hooks) }
        if let linux = spec.linux { self.linux = Grpc_Linux(linux) }
    }
}

extension Spec {
    package init(_ message: Grpc_Spec) {
        self.init(ociVersion: message.version)
        process = message.hasProcess ? Process(message.process) : nil
        root = message.hasRoot ? Root(path: message.root.path, readonly: message.root.readonly) : nil
        hostname = given(message.hostname)
        annotations = given(message.annotations)
        mounts = given(
            message.mounts.map {
                Mount(
                    destination: $0.destination, type: given($0.type), source: given($0.source),
                    options: given($0.options))
            })
        hooks = message.hasHooks ? Hooks(message.hooks) : nil
        linux = message.hasLinux ? Linux(message.linux) : nil
    }
}

extension Grpc_Hooks {
    init(_ hooks: Hooks) {
        self.init()
        func messages(_ hooks: [Hook]?) -> [Grpc_Hook] {
            (hooks ?? []).map { hook in
                var message = Grpc_Hook()
                message.path = hook.path
                message.args = hook.args ?? []
                message.env = hook.env ?? []
                message.timeout = Int64(hook.timeout ?? 0)
                return message
            }
        }
        prestart = messages(hooks.prestart)
        poststart = messages(hooks.poststart)
        poststop = messages(hooks.poststop)
        createRuntime = messages(hooks.createRuntime)
        createContainer = messages(hooks.createContainer)
        startContainer = messages(hooks.startContainer)
    }
}

extension Hooks {
    init(_ message: Grpc_Hooks) {
        func hooks(_ messages: [Grpc_Hook]) -> [Hook]? {
            given(
                messages.map {
                    Hook(path: $0.path, args: given($0.args), env: given($0.env), timeout: given(Int($0.timeout)))
                })
        }
        self.init(
            prestart: hooks(message.prestart), createRuntime: hooks(message.createRuntime),
            createContainer: hooks(message.createContainer), startContainer: hooks(message.startContainer),
            poststart: hooks(message.poststart), poststop: hooks(message.poststop))
    }
}

extension Grpc_Process {
    package init(_ process: Process) {
        self.init()
        terminal = process.terminal ?? false
        if let size = process.consoleSize {
            consoleSize.height = UInt32(clamping: size.height)
            consoleSize.width = UInt32(clamping: size.width)
        }
        user.uid = process.user.uid
        user.gid = process.user.gid
        user.additionalGids = process.user.additionalGids ?? []
        args = process.args ?? []
        env = process.env ?? []
        cwd = process.cwd
        noNewPrivileges = process.noNewPrivileges ?? false
        apparmorProfile = process.apparmorProfile ?? ""
        selinuxLabel = process.selinuxLabel ?? ""
        oomscoreAdj = Int64(process.oomScoreAdj ?? 0)
        if let sets = process.capabilities {
            capabilities.bounding = sets.bounding ?? []
            capabilities.effective = sets.effective ?? []
            capabilities.inheritable = sets.inheritable ?? []
            capabilities.permitted = sets.permitted ?? []
            capabilities.ambient = sets.ambient ?? []
        }
        rlimits = (process.rlimits ?? []).map { limit in
            var message = Grpc_POSIXRlimit()
            (message.type, message.hard, message.soft) = (limit.type, limit.hard, limit.soft)
            return message
        }
    }
}

extension Process {
    package init(_ message: Grpc_Process) {
        self.init(args: message.args, cwd: message.cwd)
        terminal = message.terminal
        if message.hasConsoleSize {
            consoleSize = Box(height: UInt(message.consoleSize.height), width: UInt(message.consoleSize.width))
        }
        user.uid = message.user.uid
        user.gid = message.user.gid
        user.additionalGids = given(message.user.additionalGids)
        env = given(message.env)
        noNewPrivileges = message.noNewPrivileges
        apparmorProfile = given(message.apparmorProfile)
        selinuxLabel = given(message.selinuxLabel)
        oomScoreAdj = given(Int(message.oomscoreAdj))
        if message.hasCapabilities {
            var sets = Capabilities()
            sets.bounding = given(message.capabilities.bounding)
            sets.effective = given(message.capabilities.effective)
            sets.inheritable = given(message.capabilities.inheritable)
            sets.permitted = given(message.capabilities.permitted)
            sets.ambient = given(message.capabilities.ambient)
            capabilities = sets
        }
        rlimits = given(message.rlimits.map { Rlimit(type: $0.type, hard: $0.hard, soft: $0.soft) })
    }
}

extension Grpc_Linux {
    init(_ linux: Linux) {
        self.init()
        func maps(_ mappings: [IDMapping]?) -> [Grpc_LinuxIDMapping] {
            (mappings ?? []).map { mapping in
                var message = Grpc_LinuxIDMapping()
                message.containerID = mapping.containerID
                message.hostID = mapping.hostID
                message.size = mapping.size
                return message
            }
        }
        uidmappings = maps(linux.uidMappings)
        gidmappings = maps(linux.gidMappings)
        sysctl = linux.sysctl ?? [:]
        cgroupsPath = linux.cgroupsPath ?? ""
        rootfsPropagation = linux.rootfsPropagation ?? ""
        maskedPaths = linux.maskedPaths ?? []
        readonlyPaths = linux.readonlyPaths ?? []
        mountLabel = linux.mountLabel ?? ""
        namespaces = (linux.namespaces ?? []).map { namespace in
            var message = Grpc_LinuxNamespace()
            message.type = namespace.type
            message.path = namespace.path ?? ""
            return message
        }
        devices = (linux.devices ?? []).map { device in
            var message = Grpc_LinuxDevice()
            message.path = device.path
            message.type = device.type
            message.major = device.major ?? 0
            message.minor = device.minor ?? 0
            message.fileMode = device.fileMode ?? 0
            message.uid = device.uid ?? 0
            message.gid = device.gid ?? 0
            return message
        }
        if let seccomp = linux.seccomp { self.seccomp = Grpc_LinuxSeccomp(seccomp) }
        if let resources = linux.resources { self.resources = Grpc_LinuxResources(resources) }
    }
}

extension Linux {
    init(_ message: Grpc_Linux) {
        self.init()
        func maps(_ messages: [Grpc_LinuxIDMapping]) -> [IDMapping]? {
            given(messages.map { IDMapping(containerID: $0.containerID, hostID: $0.hostID, size: $0.size) })
        }
        uidMappings = maps(message.uidmappings)
        gidMappings = maps(message.gidmappings)
        sysctl = given(message.sysctl)
        cgroupsPath = given(message.cgroupsPath)
        rootfsPropagation = given(message.rootfsPropagation)
        maskedPaths = given(message.maskedPaths)
        readonlyPaths = given(message.readonlyPaths)
        mountLabel = given(message.mountLabel)
        namespaces = given(message.namespaces.map { Namespace(type: $0.type, path: given($0.path)) })
        devices = given(
            message.devices.map {
                Device(
                    type: $0.type, path: $0.path, major: $0.type == "p" ? given($0.major) : $0.major,
                    minor: $0.type == "p" ? given($0.minor) : $0.minor, fileMode: given($0.fileMode),
                    uid: given($0.uid), gid: given($0.gid))
            })
        if message.hasSeccomp { seccomp = Seccomp(message.seccomp) }
        if message.hasResources { resources = Resources(message.resources) }
        // Converts the presence only, not the content: no guest can apply it.
        if message.hasIntelRdt { intelRdt = IntelRdt() }
    }
}

extension Grpc_LinuxSeccomp {
    init(_ seccomp: Linux.Seccomp) {
        self.init()
        defaultAction = seccomp.defaultAction
        architectures = seccomp.architectures ?? []
        flags = seccomp.flags ?? []
        syscalls = (seccomp.syscalls ?? []).map { rule in
            var message = Grpc_LinuxSyscall()
            message.names = rule.names
            message.action = rule.action
            if let errno = rule.errnoRet { message.errnoRet = .errnoret(errno) }
            message.args = (rule.args ?? []).map { argument in
                var message = Grpc_LinuxSeccompArg()
                (message.index, message.value) = (UInt64(argument.index), argument.value)
                (message.valueTwo, message.op) = (argument.valueTwo ?? 0, argument.op)
                return message
            }
            return message
        }
    }
}

extension Linux.Seccomp {
    init(_ message: Grpc_LinuxSeccomp) {
        self.init(defaultAction: message.defaultAction)
        architectures = given(message.architectures)
        flags = given(message.flags)
        syscalls = given(
            message.syscalls.map { call in
                Rule(
                    names: call.names, action: call.action, errnoRet: call.errnoRet == nil ? nil : call.errnoret,
                    args: given(
                        call.args.map {
                            Argument(
                                index: UInt32(clamping: $0.index), value: $0.value, valueTwo: given($0.valueTwo),
                                op: $0.op)
                        }))
            })
    }
}

// MARK: Fields that the messages lack

extension Grpc_Spec {
    /// Checks a specification for an agent that accepts these messages only.
    /// - Throws: the first field that the messages lack.
    package init(checking spec: Spec, source: String) throws(SpecError) {
        self.init(spec)
        try refuseLoss(spec, Spec(self), source)
    }
}

extension Grpc_Process {
    /// - Throws: as for a specification.
    package init(checking process: Process, source: String) throws(SpecError) {
        self.init(process)
        try refuseLoss(process, Process(self), source)
    }
}

extension Grpc_LinuxResources {
    /// - Throws: as for a specification.
    package init(checking resources: Linux.Resources, source: String) throws(SpecError) {
        self.init(resources)
        try refuseLoss(resources, Linux.Resources(self), source)
    }
}

/// Finds a field that is lost on the way to the messages and back.
private func refuseLoss<Value: Encodable>(_ value: Value, _ returned: Value, _ source: String) throws(SpecError) {
    guard let field = value.field(missingIn: returned) else { return }
    throw SpecError(source, field, "the agent in the guest's image has no message for it; use this release's agent")
}

/// The value, or nil for zero and empty.
func given<Number: BinaryInteger>(_ number: Number) -> Number? { number == 0 ? nil : number }
func given<List: Collection>(_ list: List) -> List? { list.isEmpty ? nil : list }
