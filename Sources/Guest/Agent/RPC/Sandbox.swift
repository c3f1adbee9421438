import AgentAPI
import CLinux
import Container
import EventLoop
import Glibc
import GuestStorage
import LinuxKernel
import Netlink
import SwiftProtobuf
import TTRPC

/// The sandbox's beginning and end, and the guest as a machine.
extension Service {
    func createSandbox(_ request: Grpc_CreateSandboxRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await guest.answering {
            if !request.hostname.isEmpty {
                try check("set hostname", request.hostname) {
                    sethostname(request.hostname, request.hostname.utf8.count)
                }
            }
            guest.state.withLock { $0.hooks = GuestHooks(directory: request.guestHookPath) }
            for storage in request.storages { try await mount(storage) }
            if !request.dns.isEmpty {
                try Files.makeDirectory("/run/kata-containers/sandbox", mode: 0o755)
                try Files.write(
                    "/run/kata-containers/sandbox/resolv.conf", request.dns.joined(separator: "\n") + "\n", mode: 0o644)
            }
            return Google_Protobuf_Empty()
        }
    }

    private func mount(_ storage: Grpc_Storage) async throws {
        // virtiofs asks the host: on a thread, so that a share that doesn't answer holds up nothing else.
        try await blocking("mount") {
            if storage.fstype != "virtiofs" { Modules.wait() }
            try StorageMounter.mount(storage, hotPlugTimeout: Self.hotPlugTimeout)
        }
        guest.state.withLock { $0.mounts.append(storage.mountPoint) }
    }

    func destroySandbox(_ request: Grpc_DestroySandboxRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        let containers = guest.state.withLock { state in
            defer { state.containers = [:] }
            return state.containers
        }
        for record in containers.values { try? record.cgroup.killAll() }
        for path in guest.state.withLock({ $0.mounts }).reversed() { Mounts.detach(path) }
        _ = try? await blocking("sync") { sync() }
        // The answer goes out before the machine does.
        guest.loop.scheduleTask(in: .milliseconds(5)) { [guest] in guest.powerOff() }
        return Google_Protobuf_Empty()
    }

    func getGuestDetails(_ request: Grpc_GuestDetailsRequest, _ context: CallContext) async throws
        -> Grpc_GuestDetailsResponse
    {
        var response = Grpc_GuestDetailsResponse()
        if request.memBlockSize, let text = try? Files.readText("/sys/devices/system/memory/block_size_bytes") {
            response.memBlockSizeBytes = UInt64(String(text.filter { !$0.isWhitespace }), radix: 16) ?? 0
        }
        response.supportMemHotplugProbe = Files.exists("/sys/devices/system/memory/probe")
        response.agentDetails.version = Version.current
        response.agentDetails.initDaemon = getpid() == 1
        response.agentDetails.storageHandlers = StorageMounter.handlers
        response.agentDetails.deviceHandlers = StorageMounter.deviceHandlers
        response.agentDetails.supportsSeccomp = Files.exists("/proc/sys/kernel/seccomp/actions_avail")
        response.agentDetails.extraFeatures = [AgentFeature.specJSON]
        return response
    }

    func getMetrics(_ request: Grpc_GetMetricsRequest, _ context: CallContext) async throws -> Grpc_Metrics {
        var response = Grpc_Metrics()
        response.metrics = GuestMetrics.current(startup: guest.state.withLock { $0.startup })
        return response
    }

    func setGuestDateTime(_ request: Grpc_SetGuestDateTimeRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await guest.answering {
            try checkNegativeErrno("set", "clock", clx_set_clock(request.sec, request.usec))
            return Google_Protobuf_Empty()
        }
    }

    func reseedRandomDev(_ request: Grpc_ReseedRandomDevRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await guest.answering {
            let bytes = Array(request.data)
            try checkNegativeErrno("reseed", "/dev/random", clx_add_entropy(bytes, bytes.count))
            return Google_Protobuf_Empty()
        }
    }

    /// Puts what was plugged in to use. With `nb_cpus`, waits until so many processors are there, and work.
    func onlineCPUMem(_ request: Grpc_OnlineCPUMemRequest, _ context: CallContext) async throws -> Google_Protobuf_Empty
    {
        try await guest.answering {
            let (wanted, kinds) = (Int(request.nbCpus), ["cpu"] + (request.cpuOnly ? [] : ["memory"]))
            try await blocking("online") {
                let events = try DeviceEvents()
                let present = try events.wait(until: .now + Self.hotPlugTimeout) {
                    for kind in kinds { Self.online(kind) }
                    let works = sysconf(Int32(_SC_NPROCESSORS_ONLN))
                    return works >= wanted ? works : nil
                }
                guard present != nil else {
                    throw RPCError(
                        .deadlineExceeded,
                        "nb_cpus: \(wanted) processors are wanted, \(sysconf(Int32(_SC_NPROCESSORS_ONLN))) work in the guest after \(Self.hotPlugTimeout)"
                    )
                }
            }
            return Google_Protobuf_Empty()
        }
    }

    /// How long what was plugged in may take to appear.
    static let hotPlugTimeout = KernelCommandLine.current.hotPlugTimeout

    /// - Parameter kind: `cpu` or `memory`, as below /sys/devices/system.
    private static func online(_ kind: String) {
        let base = "/sys/devices/system/" + kind
        for name in Files.list(base) where name.hasPrefix(kind) && name.dropFirst(kind.count).allSatisfy(\.isNumber) {
            let path = "\(base)/\(name)/online"
            if (try? Files.readText(path))?.first == "0" { try? Files.write(path, "1") }
        }
    }
}
