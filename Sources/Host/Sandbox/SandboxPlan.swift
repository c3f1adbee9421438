import Configuration
import Glibc
import Hypervisor
import Linux
import OCISpec
import Storage

/// All that is decided before anything is started: a pure value.
package struct SandboxPlan: Sendable, Equatable {
    package let paths: SandboxPaths
    package let machine: VMConfiguration
    package let accelerator: Accelerator.Choice
    package let share: VirtioFSDaemon.Plan
    package let network: Network
    package let hostname: String
    package let dialTimeout: Duration
    package let createTimeout: Duration
    /// Processes' SELinux labels go to the guest.
    package let guestSELinux: Bool
    /// Filters of system calls go to the guest.
    package let guestSeccomp: Bool
    package let guestHookPath: String
    package let disks: Disk.Settings
    package let groups: Groups
    /// How the machine's size follows from what its containers ask.
    package let sizing: Sizing
    /// The guest's shell can be reached from the host.
    package let debugConsole: Bool

    /// What of the host decides about a machine.
    package struct Host: Sendable, Equatable {
        package var processors: Int
        package var memoryMiB: Int
        package var kilohertz: Int
        package var accelerator: Accelerator.Choice
        package var vsockCID: UInt32 = 3
        /// The guest's root file system, when it isn't an initrd.
        package var image: RootImage?

        package init(
            processors: Int, memoryMiB: Int, kilohertz: Int, accelerator: Accelerator.Choice, vsockCID: UInt32 = 3
        ) {
            self.vsockCID = vsockCID
            self.processors = processors
            self.memoryMiB = memoryMiB
            self.kilohertz = kilohertz
            self.accelerator = accelerator
        }

        /// This host, looked at now.
        package static func current(_ configuration: Configuration) -> Host {
            var kilohertz = 0
            for line in ((try? Files.readText("/proc/cpuinfo")) ?? "").split(separator: "\n")
            where line.hasPrefix("bogomips") {
                // Twice the clock, in MHz (arch/x86/kernel/cpu/proc.c).
                if let value = line.split(separator: ":").last,
                    let mega = Double(value.filter { $0 != " " && $0 != "\t" })
                {
                    kilohertz = Int(mega * 500)
                }
                break
            }
            let pages = sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))
            return Host(
                processors: max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))), memoryMiB: pages >> 20, kilohertz: kilohertz,
                accelerator: Accelerator.choose(configuration.text(Keys.accelerator)),
                vsockCID: UInt32.random(in: 3...0x7fff_ffff))
        }
    }

    /// What of a bundle's specification goes to this sandbox's guest.
    package func guestSpec(_ spec: Spec, container: String, bundle: String) throws(SpecError) -> GuestSpec {
        try GuestSpec(
            spec, container: container, paths: paths, guestSELinux: guestSELinux, guestSeccomp: guestSeccomp,
            source: bundle + "/config.json")
    }

    /// - Parameter demand: what is known before the machine is booted: of its first container, or of its pod.
    package init(
        sandbox: String, hostname: String, network: Network, configuration: Configuration, host: Host,
        demand: Demand = Demand(), groups: Groups
    ) {
        self.groups = groups
        self.network = network
        paths = SandboxPaths(sandbox: sandbox)
        accelerator = host.accelerator
        self.hostname = hostname
        dialTimeout = .seconds(configuration.number(Keys.dialTimeout))
        createTimeout = .seconds(configuration.number(Keys.createTimeout))
        guestHookPath = configuration.text(Keys.guestHookPath)
        guestSeccomp = !configuration.flag(Keys.disableGuestSeccomp)
        guestSELinux = !configuration.flag(Keys.disableGuestSELinux)
        share = VirtioFSDaemon.Plan(
            executable: configuration.text(Keys.virtioFSDaemon), cache: configuration.text(Keys.virtioFSCache),
            extraArguments: configuration.list(Keys.virtioFSExtraArguments))

        var machine = VMConfiguration(
            name: sandbox, executable: configuration.text(Keys.path), kernel: configuration.text(Keys.kernel),
            consoleFile: paths.console, pidFile: paths.machine + "/qemu.pid")
        machine.accelerator = host.accelerator.accelerator
        machine.machineType = configuration.text(Keys.machineType)
        machine.machineAccelerators = configuration.text(Keys.machineAccelerators)
        // pmu=off is the host processor's property; TCG's has none.
        let features = configuration.text(Keys.cpuFeatures)
        machine.cpuFeatures = machine.accelerator == .tcg && !configuration.isSet(Keys.cpuFeatures) ? "" : features
        if !configuration.text(Keys.initrd).isEmpty { machine.initrd = configuration.text(Keys.initrd) }
        machine.image = host.image
        machine.kernelParameters = configuration.text(Keys.kernelParameters).split(separator: " ").map(String.init)
        if configuration.flag(Keys.agentDebug) { machine.kernelParameters.append("agent.log=debug") }
        debugConsole = configuration.flag(Keys.debugConsole)
        if debugConsole {
            machine.kernelParameters += ["agent.debug_console", "agent.debug_console_vport=\(DebugConsoleDoor.port)"]
        }
        machine.firmware = configuration.text(Keys.firmware)
        disks = Disk.Settings(configuration)
        sizing = Sizing(configuration, host: host)
        let size = sizing.size(for: [demand])
        (machine.vcpus, machine.memoryMiB) = (size.vcpus, size.memoryMiB)
        (machine.maxVCPUs, machine.maxMemoryMiB) = (sizing.most.vcpus, sizing.most.memoryMiB)
        machine.virtioMem = configuration.flag(Keys.virtioMem)
        machine.memorySlots = configuration.number(Keys.memorySlots)
        machine.rootPorts = configuration.number(Keys.rootPorts)
        machine.seccompSandbox = configuration.text(Keys.seccompSandbox)
        machine.entropySource = configuration.text(Keys.entropySource)
        machine.hostKilohertz = host.kilohertz
        machine.debug = configuration.flag(Keys.hypervisorDebug)
        if configuration.text(Keys.guestChannel) == "vhost-vsock" {
            // One number for the whole host (vsock(7)): two sandboxes that draw the same one are told apart by QEMU's refusal.
            machine.hostVsockCID = host.vsockCID
        } else {
            machine.vsockSocket = paths.vsock
        }
        machine.shareSocket = paths.virtiofs
        machine.shareQueueSize = configuration.number(Keys.virtioFSQueueSize)
        self.machine = machine
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
    package init?(_ configuration: Configuration) throws {
        let path = configuration.text(Keys.image)
        guard !path.isEmpty else { return nil }
        let driver =
            configuration.flag(Keys.disableImageNVDIMM) ? Driver.block.rawValue : configuration.text(Keys.rootfsDriver)
        try self.init(path: path, type: configuration.text(Keys.rootfsType), driver: driver)
    }
}
