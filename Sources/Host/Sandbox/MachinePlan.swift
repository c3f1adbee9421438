import Configuration
import Hypervisor
import LinuxKernel

// Of the configuration and the host, pure values.

extension VMConfiguration {
    /// The machine of a sandbox.
    init(
        _ configuration: Configuration, host: SandboxPlan.Host, paths: SandboxPaths, size: MachineSize,
        _ sizing: Sizing
    ) {
        self.init(
            name: paths.sandbox, executable: configuration[Keys.path],
            kernel: host.files?.kernel ?? OpenFile(named: configuration[Keys.kernel]),
            consoleFile: paths.console, pidFile: paths.machine + "/qemu.pid")
        accelerator = host.accelerator.accelerator
        machineType = configuration[Keys.machineType]
        machineAccelerators = configuration[Keys.machineAccelerators]
        // pmu=off is the host processor's property; TCG's has none.
        let features = configuration[Keys.cpuFeatures]
        cpuFeatures = accelerator == .tcg && !configuration.isSet(Keys.cpuFeatures) ? "" : features
        let root = configuration[Keys.initrd]
        if !root.isEmpty { initrd = host.files?.initrd ?? OpenFile(named: root) }
        image = host.image
        kernelParameters = configuration[Keys.kernelParameters].split(separator: " ").map(String.init)
        if configuration[Keys.agentDebug] { kernelParameters.append("agent.log=debug") }
        if configuration[Keys.debugConsole] {
            kernelParameters += ["agent.debug_console", "agent.debug_console_vport=\(DebugConsoleDoor.port)"]
        }
        let program = configuration[Keys.firmware]
        if !program.isEmpty {
            firmware =
                program.hasPrefix("/") ? .file(host.files?.firmware ?? OpenFile(named: program)) : .named(program)
        }
        (vcpus, memoryMiB) = (size.vcpus, size.memoryMiB)
        (maxVCPUs, maxMemoryMiB) = (sizing.most.vcpus, sizing.most.memoryMiB)
        virtioMem = configuration[Keys.virtioMem]
        reclaimsMemory = configuration[Keys.reclaimMemory]
        memorySlots = configuration[Keys.memorySlots]
        rootPorts = configuration[Keys.rootPorts]
        seccompSandbox = configuration[Keys.seccompSandbox]
        entropySource = configuration[Keys.entropySource]
        if configuration[Keys.rootless] {
            var user = host.user
            let (given, group) = (configuration[Keys.rootlessUser], configuration[Keys.rootlessGroup])
            if given > 0 { (user.user, user.group) = (UInt32(given), UInt32(group > 0 ? group : given)) }
            self.user = user
        }
        hostKilohertz = host.kilohertz
        debug = configuration[Keys.hypervisorDebug]
        if configuration[Keys.guestChannel] == "vhost-vsock" {
            // One number for the whole host (vsock(7)): two sandboxes that draw the same one are told apart by QEMU's refusal.
            hostVsockCID = host.vsockCID
        } else {
            vsockSocket = paths.vsock
        }
        shareSocket = paths.virtiofs
        shareQueueSize = configuration[Keys.virtioFSQueueSize]
    }
}

extension MachineTemplate {
    /// What machines go on from, if they do: of the size that all begin with, as what containers ask for is plugged in.
    package init?(_ configuration: Configuration, host: SandboxPlan.Host) {
        let sizing = Sizing(configuration, host: host)
        let machine = VMConfiguration(
            configuration, host: host, paths: SandboxPaths(sandbox: "template"), size: sizing.size(for: []), sizing)
        // The host's own vsock can't be plugged in later.
        guard configuration[Keys.enableTemplate], machine.hostVsockCID == nil else { return nil }
        self.init(directory: configuration[Keys.templatePath], of: machine)
    }
}

extension Disk.Settings {
    init(_ configuration: Configuration) {
        self.init()
        driver = configuration[Keys.blockDriver] == "virtio-scsi" ? .scsi : .blk
        asynchronousIO = configuration[Keys.blockAIO]
        if configuration[Keys.blockCacheSet] {
            cache = (configuration[Keys.blockCacheDirect], configuration[Keys.blockCacheNoFlush])
        }
        logicalSector = configuration[Keys.blockLogicalSector]
        physicalSector = configuration[Keys.blockPhysicalSector]
    }
}

extension RootImage {
    /// What the configuration names as the guest's root; nil for an initrd.
    init?(_ configuration: Configuration, _ file: OpenFile?) throws {
        guard let file else { return nil }
        let driver =
            configuration[Keys.disableImageNVDIMM] ? Driver.block.rawValue : configuration[Keys.rootfsDriver]
        try self.init(
            file, type: configuration[Keys.rootfsType], driver: driver,
            isMappable: file.isReadableByAll || !configuration[Keys.rootless])
    }
}
