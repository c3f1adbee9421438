import AgentAPI
import Glibc
import Shim

/// Prints what the agent reports about a container.
package struct GuestReports {
    private let task: TaskClient
    private let id: String

    /// Connects to the shim of a running container.
    /// - Throws: as `RuntimeContext.connect(toRunning:)`.
    package init(_ id: String, in context: RuntimeContext) throws {
        task = try context.connect(toRunning: id)
        self.id = id
    }

    /// Prints the guest's metrics in Prometheus' format.
    /// - Throws: `RPCError` of the shim or the agent.
    package func printMetrics() throws {
        let answer: Grpc_Metrics = try task.ask("GetMetrics", Grpc_GetMetricsRequest())
        printGuest(answer.metrics, terminator: "")
    }

    /// Prints figures of the container, one line of JSON each time, until it ends.
    /// - Parameter interval: nil: print one line.
    /// - Throws: `RPCError` of the shim or the agent, for the first line. Later the container may have ended.
    package func printFigures(every interval: Duration?) throws {
        var request = Grpc_StatsContainerRequest()
        request.containerID = id
        var kills: UInt64?
        var answer: Grpc_StatsContainerResponse = try task.ask("StatsContainer", request)
        while true {
            let now = answer.cgroupStats.memoryStats.stats["oom_kill"] ?? 0
            if let kills, now > kills { printGuest(FiguresEvent<ContainerFigures>(type: "oom", id: id).json()) }
            kills = now
            printGuest(FiguresEvent(type: "stats", id: id, data: ContainerFigures(answer)).json())
            guard let interval else { return }
            // Only a signal ends this program earlier.
            usleep(UInt32(interval / .microseconds(1)))
            guard let state = try? task.state(id), state.status != .stopped,
                let next: Grpc_StatsContainerResponse = try? task.ask("StatsContainer", request)
            else { return }
            answer = next
        }
    }
}
