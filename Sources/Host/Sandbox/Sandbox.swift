import AgentAPI
import Cleanup
import EventLoop
import Hypervisor
import LinuxKernel
import Logging
import NIOCore
import Storage
import Streams
import TTRPC

/// One VM and the containers in it: empty → booting → ready → stopping → gone.
package actor Sandbox {
    package enum State: String, Sendable { case empty, booting, ready, stopping, gone }
    /// Where the machine comes from: from a template, or from a sandbox that had it ready for whoever comes.
    enum Origin: Sendable { case booted, clone, spare }

    package nonisolated let id: String
    package nonisolated let paths: SandboxPaths
    nonisolated let executor: LoopExecutor
    nonisolated let loop: any EventLoop
    package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    package nonisolated let plan: SandboxPlan
    package nonisolated let ledger: Ledger
    /// What the ledger holds from here on is the sandbox's.
    var beginning: Ledger.RecordID
    let log: Logger
    package internal(set) var state = State.empty

    var dialer: (any GuestDialer)?
    var machine: QEMUVirtualMachine?
    var share: VirtioFSDaemon?
    var network: SandboxNetwork?
    var origin = Origin.booted
    /// nil where the host lets us have none.
    var groups: HostGroups?
    /// Of processes into the groups.
    var move: BackgroundCall<Void>?
    var connection: RPCClient?
    var relay: StreamRelay?
    var debugConsole: DebugConsoleDoor?
    var logs: BoundedLogs?
    var containers: [String: Container] = [:]
    /// Why the machine was ended, where that was not its own affair.
    var loss: String?
    /// The guest let the last call wait until its time was over: the next one doesn't wait as long.
    var isSilent = false
    var lastPort: UInt32 = 2000
    /// What the agent says it can do beside the API (AgentFeature).
    var agentFeatures: [String] = []
    /// What the guest can add of memory at once, in MiB.
    var memoryBlockMiB = 128
    /// What is plugged in and out comes one after the other.
    var hardware = SerialQueue()
    var disks: [HostDisk.Identity: AttachedDisk] = [:]
    var lastDisk = 0
    var shown: [ShownPath.Identity: ShownPath] = [:]
    /// What the guest has reached of the limits on it.
    nonisolated let limits: LimitLog
    var outOfMemory = OutOfMemoryReports()
    /// Of the clients of its containers' host sockets; nil while none has any.
    var greeter: SocketGreeter?

    package init(plan: SandboxPlan, ledger: Ledger, loop: any EventLoop, log: Logger) {
        id = plan.paths.sandbox
        paths = plan.paths
        self.plan = plan
        self.ledger = ledger
        beginning = ledger.mark
        self.loop = loop
        self.log = log
        limits = LimitLog(log)
        executor = LoopExecutor(loop)
    }

    /// The VMM's pid: the one a manager sees for every process of the sandbox.
    package var pid: Int32 { machine?.pid ?? 0 }

    func agent() throws -> AgentServiceClient {
        guard state == .ready, let connection else {
            throw SandboxError(.wrongState, "sandbox \(id) is \(state.rawValue), not ready")
        }
        return AgentServiceClient(client: connection)
    }

    func container(_ id: String) throws -> Container {
        guard let container = containers[id] else { throw SandboxError(.notFound, "container \(id) does not exist") }
        return container
    }

    /// Brings the guest to what the network namespace holds now.
    package func followNetwork() async throws { try await network?.follow() }

    package var isEmpty: Bool { containers.isEmpty }

    /// Its containers, when all of them have ended and wait to be deleted.
    package var ended: (ids: [String], bundles: [String])? {
        guard state == .ready, !containers.isEmpty, containers.values.allSatisfy({ $0.initial.ended != nil }) else {
            return nil
        }
        return (containers.keys.sorted(), containers.values.map(\.bundle))
    }

    /// A process as it stands now.
    package func report(container: String, exec: String = "") throws -> ProcessReport {
        let record = try self.container(container)
        let process = try record.process(exec)
        return ProcessReport(
            bundle: record.bundle, streams: process.streams, state: process.state, paused: record.paused,
            ended: process.ended)
    }
}
