import AgentAPI
import EventLoop
import Glibc
import LinuxKernel
import SwiftProtobuf
import TTRPC

extension Service {
    /// Sets the host name, mounts the sandbox's storages and writes its resolv.conf.
    func createSandbox(_ request: Grpc_CreateSandboxRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await mappingErrorsToRPC {
            if !request.hostname.isEmpty {
                try check("set hostname", request.hostname) {
                    // SAFETY: the call reads as many bytes as the name has.
                    unsafe sethostname(request.hostname, request.hostname.utf8.count)
                }
            }
            guest.state.withLock { state in
                state.hooks = GuestHooks(directory: request.guestHookPath)
                state.hasSharedProcesses = request.sandboxPidns
            }
            for storage in request.storages { try await mount(storage) }
            for module in request.kernelModules {
                let parameters = module.parameters.joined(separator: " ")
                try await blocking("module") { [kernel = guest.kernel] in
                    try kernel.loadModule(module.name, parameters: parameters)
                }
            }
            if !request.dns.isEmpty {
                try Files.makeDirectory(GuestPaths.sandbox, mode: 0o755)
                try Files.write(GuestPaths.resolvConf, request.dns.joined(separator: "\n") + "\n", mode: 0o644)
            }
            return Google_Protobuf_Empty()
        }
    }

    private func mount(_ storage: Grpc_Storage) async throws {
        log.debug("mount for sandbox", ["type": storage.fstype, "at": storage.mountPoint])
        // virtiofs asks the host: on a thread, so that a share that doesn't answer blocks nothing else.
        try await blocking("mount") { [kernel = guest.kernel] in try kernel.mountForSandbox(storage) }
        guest.state.withLock { $0.mounts.append(storage.mountPoint) }
    }
}
