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
            name: paths.sandbox, executable: configuration.text(Keys.path),
            kernel: host.files?.kernel ?? OpenFile(named: configuration.text(Keys.kernel)),
            consoleFile: paths.console, pidFile: paths.machine + "/qemu.pid")
        accelerator = host.accelerator.accelerator
        machineType = configuration.text(Keys.machineType)
        machineAccelerators = configuration.text(Keys.machineAccelerators)
        // pmu=off is the host processor's property; TCG's has none.
        let features = configuration.text(Keys.cpuFeatures)
        cpuFeatures = accelerator == .tcg && !configuration.isSet(Keys.cpuFeatures) ? "" : features
        let root = configuration.text(Keys.initrd)
        if !root.isEmpty { initrd = host.files?.initrd ?? OpenFile(named: root) }
        image = host.image
        kernelParameters = configuration.text(Keys.kernelParameters).split(separator: " ").map(String.init)
        if configuration.flag(Keys.agentDebug) { kernelParameters.append("agent.log=debug") }
        if configuration.flag(Keys.debugConsole) {
            kernelParameters += ["agent.debug_console", "agent.debug_console_vport=\(DebugConsoleDoor.port)"]
        }
        let program = configuration.text(Keys.firmware)
        if !program.isEmpty {
            firmware =
                program.hasPrefix("/") ? .file(host.files?.firmware ?? OpenFile(named: program)) : .named(program)
        }
        (vcpus, memoryMiB) = (size.vcpus, size.memoryMiB)
        (maxVCPUs, maxMemoryMiB) = (sizing.most.vcpus, sizing.most.memoryMiB)
        virtioMem = configuration.flag(Keys.virtioMem)
        reclaimsMemory = configuration.flag(Keys.reclaimMemory)
        memorySlots = configuration.number(Keys.memorySlots)
        rootPorts = configuration.number(Keys.rootPorts)
        seccompSandbox = configuration.text(Keys.seccompSandbox)
        entropySource = configuration.text(Keys.entropySource)
        if configuration.flag(Keys.rootless) {
            var user = host.user
            let (given, group) = (configuration.number(Keys.rootlessUser), configuration.number(Keys.rootlessGroup))
            if given > 0 { (user.user, user.group) = (UInt32(given), UInt32(group > 0 ? group : given)) }
            self.user = user
        }
        hostKilohertz = host.kilohertz
        debug = configuration.flag(Keys.hypervisorDebug)
        if configuration.text(Keys.guestChannel) == "vhost-vsock" {
            // One number for the whole host (vsock(7)): two sandboxes that draw the same one are told apart by QEMU's refusal.
            hostVsockCID = host.vsockCID
        } else {
            vsockSocket = paths.vsock
        }
        shareSocket = paths.virtiofs
        shareQueueSize = configuration.number(Keys.virtioFSQueueSize)
    }
}

extension MachineTemplate {
    /// What machines go on from, if they do: of the size that all begin with, as what containers ask for is plugged in.
    package init?(_ configuration: Configuration, host: SandboxPlan.Host) {
        let sizing = Sizing(configuration, host: host)
        let machine = VMConfiguration(
            configuration, host: host, paths: SandboxPaths(sandbox: "template"), size: sizing.size(for: []), sizing)
        // The host's own vsock can't be plugged in later.
        guard configuration.flag(Keys.enableTemplate), machine.hostVsockCID == nil else { return nil }
        self.init(directory: configuration.text(Keys.templatePath), of: machine)
    }
}

extension Disk.Settings {
    init(_ configuration: Configuration) {
        self.init()
        driver = configuration.text(Keys.blockDriver) == "virtio-scsi" ? .scsi : .blk
        asynchronousIO = configuration.text(Keys.blockAIO)
        if configuration.flag(Keys.blockCacheSet) {
            cache = (configuration.flag(Keys.blockCacheDirect), configuration.flag(Keys.blockCacheNoFlush))
        }
        logicalSector = configuration.number(Keys.blockLogicalSector)
        physicalSector = configuration.number(Keys.blockPhysicalSector)
    }
}

extension RootImage {
    /// What the configuration names as the guest's root; nil for an initrd.
    init?(_ configuration: Configuration, _ file: OpenFile?) throws {
        guard let file else { return nil }
        let driver =
            configuration.flag(Keys.disableImageNVDIMM) ? Driver.block.rawValue : configuration.text(Keys.rootfsDriver)
        try self.init(
            file, type: configuration.text(Keys.rootfsType), driver: driver,
            isMappable: file.isReadableByAll || !configuration.flag(Keys.rootless))
    }
}
