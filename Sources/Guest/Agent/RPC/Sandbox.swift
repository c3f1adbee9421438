import AgentAPI
import CLinux
import Container
import EventLoop
import Glibc
import Linux
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

    private static let storageHandlers = ["virtio-fs", "9p", "ephemeral", "local", "bind"]

    private func mount(_ storage: Grpc_Storage) async throws {
        guard storage.driver.isEmpty || Self.storageHandlers.contains(storage.driver) else {
            throw RPCError(.unimplemented, "storage driver \(storage.driver) is not implemented")
        }
        try Files.makeDirectory(storage.mountPoint, mode: 0o755)
        let options = MountOptions(storage.options)
        // virtiofs asks the host: on a thread, so that a share that doesn't answer holds up nothing else.
        try await blocking("mount") {
            if storage.fstype != "virtiofs" { Modules.wait() }
            try Mounts.mount(
                storage.source, at: storage.mountPoint, type: storage.fstype, flags: options.flags, data: options.data)
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
        response.agentDetails.storageHandlers = Self.storageHandlers
        response.agentDetails.supportsSeccomp = Files.exists("/proc/sys/kernel/seccomp/actions_avail")
        response.agentDetails.extraFeatures = [AgentFeature.specJSON]
        return response
    }

    func getMetrics(_ request: Grpc_GetMetricsRequest, _ context: CallContext) async throws -> Grpc_Metrics {
        var response = Grpc_Metrics()
        response.metrics = GuestMetrics.current()
        return response
    }

    func setGuestDateTime(_ request: Grpc_SetGuestDateTimeRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await guest.answering {
            try checkNegated("set", "clock", clx_set_clock(request.sec, request.usec))
            return Google_Protobuf_Empty()
        }
    }

    func reseedRandomDev(_ request: Grpc_ReseedRandomDevRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await guest.answering {
            let bytes = Array(request.data)
            try checkNegated("reseed", "/dev/random", clx_add_entropy(bytes, bytes.count))
            return Google_Protobuf_Empty()
        }
    }

    func onlineCPUMem(_ request: Grpc_OnlineCPUMemRequest, _ context: CallContext) async throws -> Google_Protobuf_Empty
    {
        try await guest.answering {
            for directory in ["cpu"] + (request.cpuOnly ? [] : ["memory"]) {
                let base = "/sys/devices/system/" + directory
                for name in Files.list(base)
                where name.hasPrefix(directory) && name.dropFirst(directory.count).allSatisfy(\.isNumber) {
                    let path = "\(base)/\(name)/online"
                    if (try? Files.readText(path))?.first == "0" { try? Files.write(path, "1") }
                }
            }
            return Google_Protobuf_Empty()
        }
    }
}
