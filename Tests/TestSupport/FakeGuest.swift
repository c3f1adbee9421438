import AgentAPI
import LinuxKernel
import SwiftProtobuf
import Synchronization
import TTRPC

/// An agent that keeps containers as a guest does: what was created can be started, what runs can be killed, and a wait
/// returns at the end.
package final class FakeGuest: Sendable {
    package enum Phase: Equatable, Sendable {
        case created, running
        case ended(Int32, outOfMemory: Bool = false)
    }

    private struct State: Sendable {
        var processes: [String: Phase] = [:]
        var waits: [String: [UInt32]] = [:]
        var refusals: [String: RPCError] = [:]
        var silent: Set<String> = []
        var held: [FakeAgent.Call] = []
        var slow: Set<String> = []
        var late: [(answer: FakeAgent.Answer, call: FakeAgent.Call)] = []
        var ignoresKills = false
        var specifications: [String: [UInt8]] = [:]
        var calls: [String] = []
        var signals: [UInt32] = []
        var podLimits: [Grpc_PodLimits] = []
        var plainTerminals: Set<String> = []
        var features = AgentFeature.all
        var sysctls: [String: String] = [:]
        var sharesProcesses = false
        var sharing: Set<String> = []
        var stats: [String: Grpc_StatsContainerResponse] = [:]
    }
    private let state = Mutex(State())
    private let holder = Mutex<FakeAgent?>(nil)

    /// The agent, for a channel.
    package var agent: FakeAgent { holder.withLock { $0! } }

    package init() throws {
        // The agent's thread keeps both until the host has closed the connection.
        let agent = try FakeAgent { [self] call in answer(call) }
        holder.withLock { $0 = agent }
    }

    // MARK: The test's side

    /// Lets every call of a method fail.
    package func refuse(_ method: String, _ error: RPCError = RPCError(.unknown, "no")) {
        state.withLock { $0.refusals[method] = error }
    }

    /// Answers every SIGKILL, and lets the process live.
    package func ignoreKills() { state.withLock { $0.ignoresKills = true } }

    /// The specification with which a container or exec was created, as JSON.
    package func specification(_ id: String) -> [UInt8]? { state.withLock { $0.specifications[id] } }

    /// Leaves every call of a method without an answer.
    package func ignore(_ method: String) { _ = state.withLock { $0.silent.insert(method) } }
    /// Answers the calls of a method that were left without an answer.
    package func answerLate(_ method: String) {
        accept(method)
        let calls = state.withLock { state in
            defer { state.held.removeAll { $0.method == method } }
            return state.held.filter { $0.method == method }
        }
        for call in calls { agent.send(perform(call), to: call) }
    }
    /// Fails the calls of a method that were left without an answer.
    package func refuseLate(_ method: String, _ error: RPCError = RPCError(.unknown, "no")) {
        let calls = state.withLock { state in
            defer { state.held.removeAll { $0.method == method } }
            return state.held.filter { $0.method == method }
        }
        for call in calls { agent.send(.failure(error), to: call) }
    }

    /// Does what calls of a method ask for, and keeps the answers until `deliver`.
    package func withhold(_ method: String) { _ = state.withLock { $0.slow.insert(method) } }
    /// Sends the answers that were kept, and keeps no more.
    package func deliver(_ method: String) {
        let late = state.withLock { state in
            state.slow.remove(method)
            defer { state.late.removeAll { $0.call.method == method } }
            return state.late.filter { $0.call.method == method }
        }
        for (answer, call) in late { agent.send(answer, to: call) }
    }
    package func accept(_ method: String) {
        state.withLock { state in
            state.refusals[method] = nil
            state.silent.remove(method)
        }
    }

    /// The methods in the order of their calls.
    package var calls: [String] { state.withLock { $0.calls } }
    /// The signals in the order of their calls.
    package var signals: [UInt32] { state.withLock { $0.signals } }
    /// The pod's limits in the order of the calls that had some.
    package var podLimits: [Grpc_PodLimits] { state.withLock { $0.podLimits } }
    /// The processes whose terminals send newlines without a carriage return.
    package var plainTerminals: Set<String> { state.withLock { $0.plainTerminals } }
    /// Is an agent without this feature.
    package func lack(_ feature: String) { state.withLock { $0.features.removeAll { $0 == feature } } }
    /// The sandbox's sysctls.
    package var sysctls: [String: String] { state.withLock { $0.sysctls } }
    /// Whether the sandbox has a pid namespace of its own for containers.
    package var sharesProcesses: Bool { state.withLock { $0.sharesProcesses } }
    /// The containers that share a pid namespace.
    package var sharing: Set<String> { state.withLock { $0.sharing } }
    /// Gives a container figures.
    package func measure(_ container: String, _ stats: Grpc_StatsContainerResponse) {
        state.withLock { $0.stats[container] = stats }
    }
    package func phase(_ process: String) -> Phase? { state.withLock { $0.processes[process] } }

    /// Ends a process by itself.
    package func end(_ process: String, status: Int32, outOfMemory: Bool = false) {
        let waits = state.withLock { state -> [UInt32] in
            state.processes[process] = .ended(status, outOfMemory: outOfMemory)
            return state.waits.removeValue(forKey: process) ?? []
        }
        for stream in waits {
            let reply = Ttrpc_Response.with {
                $0.payload = (try? Self.end(status, outOfMemory).serializedData()) ?? .init()
            }
            agent.send(FakeAgent.frame(stream, (try? reply.serializedBytes()) ?? []))
        }
    }

    private static func end(_ status: Int32, _ outOfMemory: Bool) -> Grpc_WaitProcessResponse {
        Grpc_WaitProcessResponse.with { ($0.status, $0.outOfMemory) = (status, outOfMemory) }
    }

    // MARK: The agent's side

    private func answer(_ call: FakeAgent.Call) -> FakeAgent.Answer {
        let early = state.withLock { state -> FakeAgent.Answer? in
            state.calls.append(call.method)
            if let error = state.refusals[call.method] { return .failure(error) }
            guard state.silent.contains(call.method) else { return nil }
            state.held.append(call)
            return .silence
        }
        if let early { return early }
        let answer = perform(call)
        return state.withLock { state in
            guard state.slow.contains(call.method) else { return answer }
            state.late.append((answer, call))
            return .silence
        }
    }

    private func perform(_ call: FakeAgent.Call) -> FakeAgent.Answer {
        switch call.method {
        case "CreateSandbox":
            guard let request = try? Grpc_CreateSandboxRequest(serializedBytes: call.payload) else { break }
            state.withLock { $0.sharesProcesses = request.sandboxPidns }
        case "SetSysctls":
            guard let request = try? Grpc_SetSysctlsRequest(serializedBytes: call.payload) else { break }
            state.withLock { $0.sysctls = request.sysctls }
        case "StatsContainer":
            guard let request = try? Grpc_StatsContainerRequest(serializedBytes: call.payload) else { break }
            return state.withLock { state in
                guard let stats = state.stats[request.containerID] else {
                    return .failure(RPCError(.notFound, "\(request.containerID) has no figures"))
                }
                return .reply(stats)
            }
        case "GetGuestDetails":
            let features = state.withLock { $0.features }
            return .reply(
                Grpc_GuestDetailsResponse.with {
                    $0.memBlockSizeBytes = 128 << 20
                    $0.agentDetails.extraFeatures = features
                })
        case "CreateContainer":
            guard let request = try? Grpc_CreateContainerRequest(serializedBytes: call.payload) else { break }
            state.withLock { state in
                state.processes[request.containerID] = .created
                state.specifications[request.containerID] = Array(request.specJson)
                if request.hasPodLimits { state.podLimits.append(request.podLimits) }
                if request.plainNewlines { state.plainTerminals.insert(request.containerID) }
                if request.sandboxPidns { state.sharing.insert(request.containerID) }
            }
        case "UpdateContainer":
            guard let request = try? Grpc_UpdateContainerRequest(serializedBytes: call.payload) else { break }
            if request.hasPodLimits { state.withLock { $0.podLimits.append(request.podLimits) } }
        case "StartContainer":
            guard let request = try? Grpc_StartContainerRequest(serializedBytes: call.payload) else { break }
            return run(request.containerID, from: .created)
        case "ExecProcess":
            guard let request = try? Grpc_ExecProcessRequest(serializedBytes: call.payload) else { break }
            state.withLock { $0.specifications[request.execID] = Array(request.processJson) }
            if request.plainNewlines { state.withLock { _ = $0.plainTerminals.insert(request.execID) } }
            return run(request.execID, from: nil)
        case "WaitProcess": return wait(call)
        case "SignalProcess":
            guard let request = try? Grpc_SignalProcessRequest(serializedBytes: call.payload) else { break }
            let process = request.execID.isEmpty ? request.containerID : request.execID
            state.withLock { $0.signals.append(request.signal) }
            if request.signal == 9, !state.withLock({ $0.ignoresKills }) { end(process, status: 137) }
        case "RemoveContainer":
            guard let request = try? Grpc_RemoveContainerRequest(serializedBytes: call.payload) else { break }
            state.withLock { $0.processes[request.containerID] = nil }
        case "GetOOMEvent": return .silence
        default: break
        }
        return .reply([])
    }

    private func run(_ process: String, from phase: Phase?) -> FakeAgent.Answer {
        state.withLock { state in
            guard state.processes[process] == phase else {
                return .failure(RPCError(.failedPrecondition, "\(process) is in another state"))
            }
            state.processes[process] = .running
            return .reply([])
        }
    }

    private func wait(_ call: FakeAgent.Call) -> FakeAgent.Answer {
        guard let request = try? Grpc_WaitProcessRequest(serializedBytes: call.payload) else { return .reply([]) }
        return state.withLock { state in
            if case .ended(let status, let outOfMemory) = state.processes[request.execID] {
                return .reply(Self.end(status, outOfMemory))
            }
            state.waits[request.execID, default: []].append(call.stream)
            return .silence
        }
    }
}
