import AgentAPI
import EventLoop
import Glibc
import LinuxKernel
import Netlink
import SwiftProtobuf
import TTRPC

extension Service {
    /// Puts hot-plugged processors and memory to use. With `nb_cpus`, waits until that many processors are online.
    func onlineCPUMem(_ request: Grpc_OnlineCPUMemRequest, _ context: CallContext) async throws -> Google_Protobuf_Empty
    {
        try await mappingErrorsToRPC {
            let (wanted, kinds) = (Int(request.nbCpus), ["cpu"] + (request.cpuOnly ? [] : ["memory"]))
            let limit = KernelCommandLine.current.hotPlugTimeout
            try await blocking("online") {
                let events = try DeviceEvents()
                let online = try events.wait(until: .now + limit) {
                    for kind in kinds { Self.online(kind) }
                    return Self.onlineProcessors >= wanted ? Self.onlineProcessors : nil
                }
                guard online != nil else {
                    throw RPCError(
                        .deadlineExceeded,
                        "nb_cpus: \(wanted) processors are wanted, \(Self.onlineProcessors) work in the guest after \(limit)"
                    )
                }
            }
            return Google_Protobuf_Empty()
        }
    }

    private static var onlineProcessors: Int { sysconf(Int32(_SC_NPROCESSORS_ONLN)) }

    /// - Parameter kind: `cpu` or `memory`, as below /sys/devices/system.
    private static func online(_ kind: String) {
        let base = "/sys/devices/system/" + kind
        for name in Files.list(base) where name.hasPrefix(kind) && name.dropFirst(kind.count).allSatisfy(\.isNumber) {
            let path = "\(base)/\(name)/online"
            if (try? Files.readText(path))?.first == "0" { try? Files.write(path, "1") }
        }
    }
}
