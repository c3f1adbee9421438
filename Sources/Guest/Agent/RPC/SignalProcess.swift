import AgentAPI
import EventLoop
import Glibc
import SwiftProtobuf
import TTRPC

extension Service {
    /// Signals one process, or without an exec id all processes of a container.
    func signalProcess(_ request: Grpc_SignalProcessRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await mappingErrorsToRPC {
            let container = try guest.containers.find(request.containerID)
            let signal = Int32(bitPattern: request.signal)
            log.debug("signal", ["container": container.id, "exec": request.execID, "signal": "\(signal)"])
            if !request.execID.isEmpty {
                let process = try container.process(request.execID)
                // Later, its number may be another's.
                let isRunning = process.status == nil
                try Self.signal(process, of: container, signal)
                // Kill the children too: those of a probe that takes too long would hold its output open.
                if signal == SIGKILL, isRunning, process !== container.initial {
                    let (cgroup, session) = (container.cgroup, process.pid)
                    try await blocking("kill") { try cgroup.killAll(ofSession: session) }
                }
            } else if signal == SIGKILL {
                try container.cgroup.killAll()
            } else {
                for pid in try container.cgroup.allProcesses { kill(pid, signal) }
            }
            return Google_Protobuf_Empty()
        }
    }

    /// Sends SIGKILL instead of SIGTERM to a first process that doesn't handle SIGTERM.
    ///
    /// The kernel delivers no signal to the first process of a pid namespace whose default action would end it
    /// (pid_namespaces(7)). A stop would last until the manager's own timeout.
    private static func signal(_ process: GuestProcess, of container: GuestContainer, _ signal: Int32) throws {
        let isIgnored = process === container.initial && signal == SIGTERM && !process.handles(signal)
        try process.signal(isIgnored ? SIGKILL : signal)
    }
}
