import AgentAPI
import Container
import EventLoop
import Glibc
import GuestStorage
import LinuxKernel
import NIOCore
import OCISpec
import Streams
import Synchronization
import TTRPC

/// What the agent knows: the sandbox's containers and their processes.
final class Guest: Sendable {
    struct ContainerRecord: Sendable {
        let plan: ContainerPlan
        let filter: SeccompFilter?
        let cgroup: Cgroup
        /// By exec id; the first process under the container's own id.
        var processes: [String: GuestProcess]
        let initial: GuestProcess
        /// Mount points of its disks, and of memory that it may share, in order.
        let mounts: [String]
        /// In the place of the host's.
        let sockets: [GuestSocket]

        /// What a hook of the guest's image is told.
        func hookState(_ status: OCISpec.State.Status) -> OCISpec.State {
            var state = plan.state
            state.status = status
            state.pid = status == .stopped ? 0 : initial.pid
            return state
        }
    }

    struct State: Sendable {
        var containers: [String: ContainerRecord] = [:]
        /// Names that are being created.
        var pending: Set<String> = []
        var mounts: [String] = []
        /// The first container, whose processes others of a pod may see.
        var first: String?
        var hooks = GuestHooks(directory: "")
        var servesNames = false
        /// Seconds of the guest's uptime at which the agent came to a point.
        var startup: [(point: String, seconds: Double)] = []
    }

    let loop: any EventLoop
    let zygote: Zygote
    let relay: StreamRelay
    let reaper: Reaper
    let oom: OOMWatch
    let sharedMounts = SharedMounts()
    let state = Mutex(State())
    /// Called when the sandbox ends.
    let powerOff: @Sendable () -> Void

    init(loop: any EventLoop, zygote: Zygote, powerOff: @escaping @Sendable () -> Void) throws(SystemError) {
        self.loop = loop
        self.zygote = zygote
        self.powerOff = powerOff
        relay = try StreamRelay()
        reaper = try Reaper()
        oom = try OOMWatch()
    }

    func container(_ id: String) throws(RPCError) -> ContainerRecord {
        guard let record = state.withLock({ $0.containers[id] }) else {
            throw RPCError(.notFound, "container \(id) does not exist")
        }
        return record
    }

    func process(_ container: String, _ exec: String) throws(RPCError) -> GuestProcess {
        let record = try self.container(container)
        guard let process = record.processes[exec.isEmpty ? container : exec] else {
            throw RPCError(.notFound, "process \(exec) of container \(container) does not exist")
        }
        return process
    }

    /// Gives a failure the code a client acts on.
    func answering<Result>(_ body: () async throws -> Result) async throws -> Result {
        do { return try await body() } catch let error as RPCError { throw error } catch let error as PlanError {
            throw RPCError(.invalidArgument, error.description)
        } catch let error as SystemError {
            throw RPCError(error.code == ENOENT ? .notFound : .internal, error.description)
        } catch { throw RPCError(.internal, "\(error)") }
    }
}
