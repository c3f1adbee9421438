import AgentAPI
import Channel
import Cleanup
import EventLoop
import LinuxKernel
import Logging
import NIOCore
import Network
import Pod
import Share
import SocketForward
import Stdio

/// One VM and the containers in it: empty → booting → ready → stopping → gone.
package actor Sandbox {
    package enum State: String, Sendable { case empty, booting, ready, stopping, gone }

    package nonisolated let id: String
    package nonisolated let paths: SandboxPaths
    package nonisolated let plan: SandboxPlan
    package nonisolated let ledger: Ledger
    nonisolated let executor: LoopExecutor
    nonisolated let loop: any EventLoop
    // SAFETY: the actor holds the executor as long as it lives.
    package nonisolated var unownedExecutor: UnownedSerialExecutor { unsafe executor.asUnownedSerialExecutor() }
    nonisolated let log: Logger
    /// Logs the limits that the guest has reached.
    nonisolated let limits: LimitLog

    package internal(set) var state = State.empty
    /// The machine of a sandbox that is ready.
    var machine: RunningMachine?
    /// The start of the present or future machine.
    var start: MachineStart?
    /// The reason why we ended the machine; nil while it runs, or where it ended by itself.
    var loss: String?
    /// The last call to the agent timed out: the next one waits a shorter time.
    var isSilent = false
    /// Everything in the ledger after this record is the machine's.
    let beginning: Ledger.RecordID

    var binding: CgroupBinding
    /// The pod's limits as far as changes of its containers' tell them (`podLimits`).
    var followedLimits: PodLimits
    var network: SandboxNetwork?
    /// A standalone sandbox's process on the host (`Standalone`).
    var ownProcess: Placeholder?
    /// The end of the sandbox, for all that wait for it.
    nonisolated let finish = OneShot<SandboxEnd>()
    /// Arrives when `stop` has removed everything.
    let stopped = OneShot<Void>()
    var debugConsole: DebugConsoleSocket?

    var containers: [String: Container] = [:]
    var heldNames = HeldNames()
    /// The number of the last container that was reserved.
    var lastContainer = 0
    var sharedPaths: SharedPaths
    var memory = MemoryVolumes()
    var disks = AttachedDisks()
    /// Changes of the machine's devices and size, one after the other.
    var hardware = SerialQueue()
    /// Whether the machine is about to give memory back.
    var isShrinking = false
    /// The time in which more containers may leave before it does.
    var shrinkPause = Duration.seconds(1)
    var oomReports = OOMReports()
    var forwards: Forwards

    package init(plan: SandboxPlan, ledger: Ledger, loop: any EventLoop, log: Logger) {
        id = plan.paths.sandbox
        paths = plan.paths
        self.plan = plan
        self.ledger = ledger
        beginning = ledger.mark
        self.loop = loop
        self.log = log
        limits = LimitLog(log)
        forwards = Forwards(limits)
        binding = CgroupBinding(plan, log: log)
        executor = LoopExecutor(loop)
        followedLimits = plan.pod
        sharedPaths = SharedPaths(plan.paths, ledger, plan.mounts) { fault in
            let metadata: Logger.Metadata = ["volume": "\(fault.volume)", "error": "\(fault.error)"]
            switch fault.effect {
            case .isShared:
                log.warning("a volume is shared, not copied; updates may be seen half", metadata: metadata)
            case .staysOld:
                log.warning("a volume's update can't be copied; its containers keep the old files", metadata: metadata)
            }
        }
    }

    /// The parts of the machine that exist, also during its start.
    var parts: MachineParts { machine?.parts ?? start?.parts ?? MachineParts() }

    /// The hypervisor's pid. 0 without a machine.
    package var pid: Int32 { parts.vm?.pid ?? 0 }

    func container(_ id: String) throws -> Container {
        guard let container = containers[id] else { throw SandboxError(.notFound, "container \(id) does not exist") }
        return container
    }

    /// The container with an identity; nil when it is gone, also where another has its name now.
    func present(_ key: ContainerKey) -> Container? { containers[key.id].flatMap { $0.key == key ? $0 : nil } }

    /// Brings the guest's network to the present state of the network namespace.
    /// - Throws: as `SandboxNetwork.reconcile()`.
    package func reconcileNetwork() async throws { try await network?.reconcile() }

    /// The links of the network namespace that the guest doesn't get, as entries for a list of its links.
    package var missingLinks: [Types_Interface] {
        get async { await network?.faults.map(\.listed) ?? [] }
    }

    package var isEmpty: Bool { containers.isEmpty }

    /// The sandbox's containers, when all have ended and wait for deletion; nil where the sandbox goes on without them.
    package var ended: (ids: [String], bundles: [String])? {
        guard state == .ready, !containers.isEmpty, plan.standalone == nil,
            containers.values.allSatisfy({ $0.initial.ended != nil })
        else {
            return nil
        }
        return (containers.keys.sorted(), containers.values.map(\.bundle))
    }

    /// The present state of a process.
    /// - Throws: `SandboxError` (`notFound`) for a container or process that does not exist.
    package func report(container: String, exec: String = "") throws -> ProcessReport {
        let record = try self.container(container)
        let process = try record.process(exec)
        return ProcessReport(
            bundle: record.bundle, pid: pid(of: record), streams: process.streams, state: process.state,
            paused: record.paused, ended: process.ended)
    }
}
