import AgentAPI
import Cleanup
import Configuration
import Hypervisor
import LinuxKernel
import Pod
import Snapshot

// Takes values from the configuration and the host; starts nothing.

extension VMConfiguration {
    /// The machine of a sandbox.
    init(_ basis: SandboxPlan.Basis, paths: SandboxPaths, size: MachineSize, _ sizing: Sizing) {
        let (configuration, host) = (basis.configuration, basis.host)
        self.init(
            name: paths.sandbox, directory: paths.machine, consoleFile: paths.console,
            kernel: basis.files?.kernel ?? OpenFile(named: configuration[Keys.kernel]))
        let root = configuration[Keys.initrd]
        if !root.isEmpty { initrd = basis.files?.initrd ?? OpenFile(named: root) }
        image = basis.image
        let program = configuration[Keys.firmware]
        if !program.isEmpty {
            firmware =
                program.hasPrefix("/") ? .file(basis.files?.firmware ?? OpenFile(named: program)) : .named(program)
        }
        kernelParameters = Self.kernelParameters(configuration)
        debug = configuration[Keys.hypervisorDebug]
        (vcpus, memoryMiB) = (size.vcpus, size.memoryMiB)
        (maxVCPUs, maxMemoryMiB) = (sizing.maximum.vcpus, sizing.maximum.memoryMiB)
        virtioMem = configuration[Keys.virtioMem]
        reclaimsMemory = configuration[Keys.reclaimMemory]
        memorySlots = configuration[Keys.memorySlots]
        hotPlugPorts = configuration[Keys.rootPorts]
        entropySource = configuration[Keys.entropySource]
        user = Self.user(configuration, host)
        if configuration.usesHostVsock {
            // Guest numbers are unique on the whole host (vsock(7)).
            hostVsockCID = host.vsockCID
        } else {
            vsockSocket = paths.vsock
        }
        (shareSocket, shareTag) = (paths.virtiofs, GuestPaths.shareTag)
        shareQueueSize = configuration[Keys.virtioFSQueueSize]
    }

    private static func kernelParameters(_ configuration: Configuration) -> [String] {
        var words = configuration[Keys.kernelParameters].split(separator: " ").map(String.init)
        if configuration[Keys.agentDebug] { words.append(KernelArguments.log + "=debug") }
        if configuration[Keys.debugConsole] {
            words += [
                KernelArguments.debugConsole, "\(KernelArguments.debugConsolePort)=\(GuestPort.debugConsole)",
            ]
        }
        return words
    }

    /// The user of the hypervisor; nil: root.
    private static func user(_ configuration: Configuration, _ host: HostFacts) -> ProcessUser? {
        guard configuration[Keys.rootless] else { return nil }
        var user = host.user
        let (given, group) = (configuration[Keys.rootlessUser], configuration[Keys.rootlessGroup])
        if given > 0 { (user.user, user.group) = (UInt32(given), UInt32(group > 0 ? group : given)) }
        return user
    }
}

extension VMTemplate {
    /// The VM template of the configuration; nil where machines boot. It has the size with which all machines begin.
    /// Memory and processors for containers are added later.
    package init?(_ basis: SandboxPlan.Basis) {
        let configuration = basis.configuration
        let sizing = Sizing(configuration, host: basis.host)
        let machine = VMConfiguration(
            basis, paths: SandboxPaths(sandbox: "template"), size: sizing.size(for: []), sizing)
        // vhost-vsock can't be added to a clone.
        guard configuration[Keys.enableTemplate], machine.hostVsockCID == nil,
            basis.hypervisor.capabilities.hasSnapshots
        else { return nil }
        self.init(directory: configuration[Keys.templatePath], of: machine, by: basis.hypervisor)
    }
}

extension Disk.Settings {
    init(_ configuration: Configuration) {
        self.init()
        driver = configuration[Keys.blockDriver] == "virtio-scsi" ? .scsi : .blk
        asynchronousIO = configuration[Keys.blockAIO]
        if configuration[Keys.blockCacheSet] {
            cache = Cache(
                direct: configuration[Keys.blockCacheDirect],
                noFlush: configuration[Keys.blockCacheNoFlush])
        }
        logicalSector = configuration[Keys.blockLogicalSector]
        physicalSector = configuration[Keys.blockPhysicalSector]
    }
}

extension RootImage {
    /// The guest's root file system, as the configuration names it; nil for an initrd.
    init?(_ configuration: Configuration, _ file: OpenFile?) throws {
        guard let file else { return nil }
        let driver =
            configuration[Keys.disableImageNVDIMM] ? Driver.block.rawValue : configuration[Keys.rootfsDriver]
        try self.init(
            file, type: configuration[Keys.rootfsType], driver: driver,
            isMappable: file.isReadableByAll || !configuration[Keys.rootless])
    }
}
