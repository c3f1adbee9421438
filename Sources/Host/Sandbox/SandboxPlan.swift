import Configuration
import Glibc
import Hypervisor
import LinuxKernel
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
    /// It is made by a pod's sandbox container, which others of the pod name as theirs.
    package var isPod = false
    package let dialTimeout: Duration
    package let createTimeout: Duration
    /// Processes' SELinux labels go to the guest.
    package let guestSELinux: Bool
    /// Filters of system calls go to the guest.
    package let guestSeccomp: Bool
    package let guestHookPath: String
    /// What the machine goes on from; nil: it boots.
    package let template: MachineTemplate?
    package let disks: Disk.Settings
    /// A container's root file system that is a disk becomes the guest's own.
    package let plugsRootDisks: Bool
    /// nil: a spare machine's processes stay where they are until somebody takes it.
    package let groups: Groups?
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
        /// Nobody else's, for a QEMU that doesn't run as root; and the group that may use /dev/kvm.
        package var user = ProcessUser(user: 65534, group: 65534)
        /// What the guest boots from; nil in plans that start nothing.
        package var files: BootFiles?
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

        /// This host and the guest's files on it, looked at now.
        /// - Throws: for an image that is none.
        package static func current(_ configuration: Configuration, booting files: BootFiles) throws -> Host {
            var host = withoutFiles(configuration)
            host.files = files
            host.image = try RootImage(configuration, files.image)
            return host
        }

        package static func withoutFiles(_ configuration: Configuration) -> Host {
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
            var host = Host(
                processors: max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))), memoryMiB: pages >> 20, kilohertz: kilohertz,
                accelerator: Accelerator.choose(configuration[Keys.accelerator]),
                vsockCID: UInt32.random(in: 3...0x7fff_ffff))
            // From 0x70000000 on the numbers are nobody's by convention (systemd, "Users, Groups, UIDs and GIDs"); of two living shims
            // none has the other's, as none has its pid.
            let own = 0x7000_0000 + UInt32(getpid())
            var device = stat()
            host.user = ProcessUser(
                user: own, group: own,
                groups: stat("/dev/kvm", &device) == 0 && device.st_gid != 0 ? [device.st_gid] : [])
            return host
        }
    }

    /// What of a bundle's specification goes to this sandbox's guest.
    package func guestSpec(
        _ spec: Spec, container: String, bundle: String, rootDisk: DiskImage? = nil, joins: [String: String] = [:]
    ) throws(SpecError) -> GuestSpec {
        try GuestSpec(
            spec, container: container, paths: paths, rootDisk: rootDisk, joins: joins, guestSELinux: guestSELinux,
            guestSeccomp: guestSeccomp, source: bundle + "/config.json")
    }

    /// - Parameter demand: what is known before the machine is booted: of its first container, or of its pod.
    package init(
        sandbox: String, hostname: String, network: Network, configuration: Configuration, host: Host,
        demand: Demand = Demand(), groups: Groups
    ) {
        self.init(
            paths: SandboxPaths(sandbox: sandbox), hostname: hostname, network: network, configuration: configuration,
            host: host, demand: demand, groups: groups)
    }

    /// Of a machine that waits for whoever comes.
    package init(spare paths: SandboxPaths, configuration: Configuration, host: Host) {
        self.init(
            paths: paths, hostname: "", network: .none, configuration: configuration, host: host, demand: Demand(),
            groups: nil)
    }

    private init(
        paths: SandboxPaths, hostname: String, network: Network, configuration: Configuration, host: Host,
        demand: Demand, groups: Groups?
    ) {
        self.groups = groups
        self.network = network
        self.paths = paths
        accelerator = host.accelerator
        self.hostname = hostname
        dialTimeout = .seconds(configuration[Keys.dialTimeout])
        createTimeout = .seconds(configuration[Keys.createTimeout])
        guestHookPath = configuration[Keys.guestHookPath]
        guestSeccomp = !configuration[Keys.disableGuestSeccomp]
        guestSELinux = !configuration[Keys.disableGuestSELinux]
        share = VirtioFSDaemon.Plan(
            executable: configuration[Keys.virtioFSDaemon], cache: configuration[Keys.virtioFSCache],
            extraArguments: configuration[Keys.virtioFSExtraArguments])

        debugConsole = configuration[Keys.debugConsole]
        disks = Disk.Settings(configuration)
        plugsRootDisks = !configuration[Keys.disableBlockDevices]
        sizing = Sizing(configuration, host: host)
        machine = VMConfiguration(configuration, host: host, paths: paths, size: sizing.size(for: [demand]), sizing)
        template = MachineTemplate(configuration, host: host)
    }

    /// What the machine is made from. Its size counts as that with which all begin, where what containers ask for is plugged in.
    package func label(version: String) -> MachineLabel {
        var machine = machine
        let base = sizing.size(for: [])
        if !sizing.isStatic { (machine.vcpus, machine.memoryMiB) = (base.vcpus, base.memoryMiB) }
        return MachineLabel(machine, helpers: [share.executable, share.cache] + share.extraArguments, version: version)
    }
}
