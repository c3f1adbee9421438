import AgentAPI
import CLinux
import Container
import Glibc
import GuestStorage
import LinuxKernel
import Streams

/// The changes to the guest that the container verbs make. All calls block. Tests have a fake.
protocol GuestKernel: Sendable {
    /// Waits for a disk that the host has plugged in.
    func findDisk(_ device: Grpc_Device) throws -> BlockDevice

    /// Loads a module of the shared ones, if the kernel does not have it already.
    func loadModule(_ name: String, parameters: String) throws

    func write(_ sysctl: ContainerPlan.Setting) throws
    /// Makes a pid namespace with a first process that only reaps.
    func makePodInit() throws -> PodInit

    func mountForSandbox(_ storage: Grpc_Storage) throws
    func mountForContainer(_ storage: Grpc_Storage) throws
    /// Writes back, unmounts and removes a container's mount point, unless another container still uses it.
    func unmountForContainer(_ mountPoint: String)

    /// Mounts the parts of the share that a container's mounts lead to.
    func enterShares(of plan: ContainerPlan)
    /// Unmounts those that no other container uses. Lets the host close its files that the guest's kernel has only
    /// cached.
    func leaveShares(of plan: ContainerPlan)

    /// Listens on a socket that relays its clients to the host.
    func listen(_ storage: Grpc_Storage) throws -> any RelayedSocket

    func cgroup(of plan: ContainerPlan) -> Cgroup
    /// Makes the cgroup with its limits and device rules.
    func create(_ cgroup: Cgroup, for plan: ContainerPlan) throws
    func remove(_ cgroup: Cgroup)

    /// Starts a process that has done everything but the exec of its program.
    /// - Parameter filter: compiled once for all processes of a container.
    func launch(_ launch: Launch, filter: SeccompFilter?, ports: StreamPorts) throws -> GuestProcess
}

/// A listening socket of a container.
protocol RelayedSocket: Sendable {
    func close()
}

extension GuestSocket: RelayedSocket {}

/// The kernel that the agent runs on.
struct LinuxGuest: GuestKernel {
    let zygote: Zygote
    let relay: StreamRelay
    let reaper: Reaper
    private let sharedMounts = SharedMounts()
    private let shareEntries = ShareEntries()
    private let hugePages = HugePages()
    private let defaultProfile = DefaultProfile()
    private let hotPlugTimeout = KernelCommandLine.current.hotPlugTimeout

    init(zygote: Zygote, relay: StreamRelay, reaper: Reaper) {
        (self.zygote, self.relay, self.reaper) = (zygote, relay, reaper)
    }

    func findDisk(_ device: Grpc_Device) throws -> BlockDevice {
        Modules.wait()
        return try StorageMounter.find(device, hotPlugTimeout: hotPlugTimeout)
    }

    func loadModule(_ name: String, parameters: String) throws {
        let isThere = try ModuleDirectory().load(name, parameters: parameters) || ModuleDirectory.isBuiltIn(name)
        guard isThere else { throw ModuleError(name: name) }
    }

    func write(_ sysctl: ContainerPlan.Setting) throws { try Files.write(sysctl.path, sysctl.value) }

    func makePodInit() throws -> PodInit { try PodInit() }

    func mountForSandbox(_ storage: Grpc_Storage) throws {
        // virtiofs is among the modules that boot needs.
        if storage.fstype != StorageDriver.virtioFSType { Modules.wait() }
        try StorageMounter.mount(storage, hotPlugTimeout: hotPlugTimeout)
    }

    func mountForContainer(_ storage: Grpc_Storage) throws {
        guard !SharedMounts.isShared(storage) else { return try sharedMounts.mount(storage) }
        try mountForSandbox(storage)
    }

    func unmountForContainer(_ mountPoint: String) {
        guard sharedMounts.release(mountPoint) else { return }
        // Even if a process still holds a file open: the host may remove the disk now.
        Files.sync(mountPoint)
        Mounts.detach(mountPoint)
        // SAFETY: the calls only read the path.
        if unsafe rmdir(mountPoint) != 0, errno == ENOTDIR { unsafe unlink(mountPoint) }
    }

    func enterShares(of plan: ContainerPlan) { shareEntries.use(plan.shareEntries) }

    func leaveShares(of plan: ContainerPlan) {
        for path in shareEntries.release(plan.shareEntries) + [GuestPaths.share] {
            // SAFETY: the call only reads the path.
            let code = unsafe clx_shrink_cache(path)
            if code < 0 { log.error(SystemError("shrink the cache of", path, errno: -code)) }
        }
    }

    func listen(_ storage: Grpc_Storage) throws -> any RelayedSocket { try GuestSocket(storage, relay: relay) }

    func cgroup(of plan: ContainerPlan) -> Cgroup { Cgroup(plan.cgroup) }

    func create(_ cgroup: Cgroup, for plan: ContainerPlan) throws {
        try cgroup.create(plan.limits)
        try hugePages.take(for: cgroup.path, plan.hugePages)
        try cgroup.apply(plan.deviceFilter)
    }

    func remove(_ cgroup: Cgroup) {
        cgroup.remove()
        hugePages.give(back: cgroup.path)
    }

    func launch(_ launch: Launch, filter: SeccompFilter?, ports: StreamPorts) throws -> GuestProcess {
        if case .container(let plan) = launch, plan.mayNeedModules { Modules.wait() }
        var launch = launch
        if launch.process.securityProfile == .appArmor(GuestAppArmor.profile), try !defaultProfile.load() {
            launch.process.securityProfile = nil
        }
        let launched = try LaunchedProcess(launch, zygote, filter: filter, reaper: reaper)
        let pid = launched.pid
        let streams: ProcessStreams
        do { streams = try ProcessStreams(launched.ends, ports, relay: relay) } catch {
            kill(pid, SIGKILL)
            reaper.watch(pid) { _ in }
            throw error
        }
        let process = GuestProcess(
            pid: pid, syncSocket: launched.syncSocket, errorPage: launched.errorPage, streams: streams)
        reaper.watch(pid) { process.hasExited($0) }
        return process
    }
}

extension ContainerPlan {
    /// The host's mounts in the share that it needs.
    fileprivate var shareEntries: [String] {
        ShareEntries.paths(root: rootfs, sources: mounts.filter(\.isBind).map(\.source))
    }
}
