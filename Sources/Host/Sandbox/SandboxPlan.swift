import Channel
import Cleanup
import Configuration
import GuestSpec
import Hypervisor
import LinuxKernel
import Network
import OCISpec
import Pod
import Share
import Snapshot

/// All decisions before anything is started: a value, made from the configuration, the specification and the host.
package struct SandboxPlan: Sendable {
    package let paths: SandboxPaths
    /// The kind of hypervisor, with its settings.
    package let hypervisor: any Hypervisor
    package let machine: VMConfiguration
    /// The VM template to clone; nil: the machine boots.
    package let template: VMTemplate?
    /// The channel between host and guest.
    package var channel: any GuestChannelKind
    /// The share by which the guest gets files of the host.
    package var share: any SharedFileSystem
    /// The maker of the mounts of shared paths.
    package var mounts: any ShareMounts = KernelMounts()
    package let network: NetworkSettings
    package let hostname: String
    /// A pod's sandbox container makes the sandbox, and other containers name it as theirs.
    package var isPod = false
    /// nil where the first container makes the sandbox, and the last one ends it.
    package var standalone: Standalone?
    /// The maximum time until the guest announces itself.
    package let dialTimeout: Duration
    /// The time that it may take on a busy host.
    package let longestDial: Duration
    /// The maximum time of a container's creation in the guest.
    package let createTimeout: Duration
    /// SELinux labels of processes go to the guest.
    package let guestSELinux: Bool
    /// Filters of system calls go to the guest.
    package let guestSeccomp: Bool
    package let guestHookPath: String
    /// The host's directory with modules of guest kernels; empty for none.
    package let guestModules: String
    /// Modules that the guest loads first, each with its parameters.
    package let kernelModules: [String]
    package let disks: Disk.Settings
    /// Whether the guest mounts a container's root file system that is on a disk.
    package let plugsRootDisks: Bool
    /// nil for a warm sandbox: its processes stay where they are until a sandbox takes the machine.
    package var cgroups: Cgroups?
    /// The rule for the machine's size.
    package let sizing: Sizing
    /// The memory that a machine needs beyond its containers'.
    package let need: MachineNeed
    /// The limits of a pod's containers together, as its manager announces them.
    package let pod: PodLimits
    /// The guest's shell can be reached from the host.
    package let debugConsole: Bool

    /// Inputs of a plan beside the container.
    package struct Basis: Sendable {
        package var configuration: Configuration
        package var host: HostFacts
        package var hypervisor: any Hypervisor
        /// The files that the guest boots from; nil in plans that start nothing.
        package var files: BootFiles?
        /// The guest's root file system; nil: an initrd.
        package var image: RootImage?

        /// - Throws: `SystemError` for an image that is none, or of another type than asked for.
        package init(
            _ configuration: Configuration, host: HostFacts, hypervisor: any Hypervisor, files: BootFiles? = nil
        ) throws {
            (self.configuration, self.host, self.hypervisor, self.files) = (configuration, host, hypervisor, files)
            image = try RootImage(configuration, files?.image)
        }
    }

    /// The part of a bundle's specification that goes to this sandbox's guest.
    /// - Parameter view: the mounts among which the specification's paths are looked up; nil: this process's.
    /// - Throws: `SpecError` with the field that the guest can't meet.
    package func guestSpec(
        _ spec: Spec, container: String, bundle: String, rootDisk: DiskImage?, limits: ResourceLimits?,
        joins: [String: String], known: KnownMemory, view: ManagerView? = nil
    ) throws(SpecError) -> GuestSpec {
        let ownTable = MountTable.once()
        return try GuestSpec(
            spec, container: container, paths: paths, rootDisk: rootDisk, limits: limits, joins: joins,
            guestSELinux: guestSELinux, guestSeccomp: guestSeccomp, known: known, source: bundle + "/config.json",
            kind: { path in if let view { view.kind(of: path) } else { Files.kind(of: path) } },
            memory: standalone?.files == nil ? MemoryFileSystem.finder() : PodFiles.finder(paths),
            mountTable: { view?.mountTable ?? ownTable() })
    }

    /// - Parameter demand: the size that the first container or its pod asks for before the boot.
    package init(
        sandbox: String, hostname: String, network: NetworkSettings, basis: Basis, demand: Demand = Demand(),
        pod: PodLimits = PodLimits(), cgroups: Cgroups?, paths: SandboxPaths? = nil
    ) {
        self.init(
            paths: paths ?? SandboxPaths(sandbox: sandbox), hostname: hostname, network: network, basis: basis,
            demand: demand, pod: pod, cgroups: cgroups)
    }

    /// The plan of a warm sandbox.
    package init(warm paths: SandboxPaths, basis: Basis) {
        self.init(
            paths: paths, hostname: "", network: .none, basis: basis, demand: Demand(), pod: PodLimits(),
            cgroups: nil)
    }

    private init(
        paths: SandboxPaths, hostname: String, network: NetworkSettings, basis: Basis, demand: Demand, pod: PodLimits,
        cgroups: Cgroups?
    ) {
        let configuration = basis.configuration
        (self.paths, self.hostname, self.network, self.cgroups) = (paths, hostname, network, cgroups)
        hypervisor = basis.hypervisor
        sizing = Sizing(configuration, host: basis.host)
        need = MachineNeed(hypervisor)
        self.pod = pod
        let size = sizing.size(for: [demand], in: pod, ceilingMiB: Self.ceilingMiB(cgroups?.limit, need))
        machine = VMConfiguration(basis, paths: paths, size: size, sizing)
        // A clone has its template's memory, all of it.
        template = size.memoryMiB < sizing.size(for: []).memoryMiB ? nil : VMTemplate(basis)
        channel =
            if let cid = machine.hostVsockCID { VhostVsock(cid: cid) } else { VhostUserVsock(socketPath: paths.vsock) }
        share = VirtioFS(
            executable: configuration[Keys.virtioFSDaemon], cache: configuration[Keys.virtioFSCache],
            extraArguments: configuration[Keys.virtioFSExtraArguments])
        dialTimeout = .seconds(configuration[Keys.dialTimeout])
        longestDial = configuration.longestDial
        createTimeout = .seconds(configuration[Keys.createTimeout])
        guestHookPath = configuration[Keys.guestHookPath]
        guestModules = configuration[Keys.guestModules]
        kernelModules = configuration[Keys.kernelModules]
        guestSeccomp = !configuration[Keys.disableGuestSeccomp]
        guestSELinux = !configuration[Keys.disableGuestSELinux]
        debugConsole = configuration[Keys.debugConsole]
        disks = Disk.Settings(configuration)
        plugsRootDisks = !configuration[Keys.disableBlockDevices]
    }

    /// The machine's fingerprint. Its size counts as the smallest where memory and processors are added later.
    package func fingerprint(version: String) -> VMFingerprint {
        var machine = machine
        let base = sizing.size(for: [])
        if !sizing.isStatic { (machine.vcpus, machine.memoryMiB) = (base.vcpus, base.memoryMiB) }
        return hypervisor.fingerprint(of: machine, helpers: share.words, version: version)
    }

    /// Refuses a channel or share that the hypervisor does not have.
    /// - Throws: `SandboxError` (`invalid`) with the configuration's key.
    package func checkCapabilities() throws(SandboxError) {
        let has = hypervisor.capabilities
        if !has.channels.contains(channel is VhostVsock ? .vhostVsock : .vhostUserVsock) {
            throw SandboxError(.invalid, "guest_channel: \(hypervisor.name) does not have this device")
        }
        if !has.shares.contains(.virtioFS) {
            throw SandboxError(.invalid, "shared_fs: \(hypervisor.name) does not have virtio-fs")
        }
    }
}
