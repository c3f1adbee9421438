import AgentAPI
import Glibc
import GuestStorage
import LinuxKernel
import TTRPC

extension Service {
    func getGuestDetails(_ request: Grpc_GuestDetailsRequest, _ context: CallContext) async throws
        -> Grpc_GuestDetailsResponse
    {
        var response = Grpc_GuestDetailsResponse()
        // The file has hexadecimal digits (Documentation/ABI/testing/sysfs-devices-memory).
        if request.memBlockSize, let text = try? Files.readText("/sys/devices/system/memory/block_size_bytes") {
            response.memBlockSizeBytes = UInt64(String(text.filter { !$0.isWhitespace }), radix: 16) ?? 0
        }
        response.supportMemHotplugProbe = Files.exists("/sys/devices/system/memory/probe")
        response.agentDetails.version = Version.current
        response.agentDetails.initDaemon = getpid() == 1
        response.agentDetails.storageHandlers = StorageMounter.handlers
        response.agentDetails.deviceHandlers = StorageMounter.deviceHandlers
        response.agentDetails.supportsSeccomp = Files.exists("/proc/sys/kernel/seccomp/actions_avail")
        response.agentDetails.extraFeatures = AgentFeature.all
        return response
    }
}
