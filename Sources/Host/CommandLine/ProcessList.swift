import AgentAPI
import Shim
import TTRPC

/// `ps`: the processes of a container.
package struct ProcessList {
    private let state: ContainerState
    private let hasEnded: Bool

    /// The heading without options, where no guest can say it.
    static let heading = Array("UID PID PPID C STIME TTY TIME CMD\n".utf8)

    /// Reads the container's state.
    /// - Throws: as `ContainerState.load`.
    package init(_ id: String, in context: RuntimeContext) throws {
        state = try context.state(id)
        hasEnded = state.status == "stopped"
    }

    /// Prints a table of the processes, with their pids in the guest.
    /// - Parameter options: of ps(1).
    /// - Throws: as `table`.
    package func printTable(_ options: [String]) throws { printGuest(try table(options), terminator: "") }

    /// A table of the processes, from the guest. A container that has ended has the heading alone.
    /// - Throws: `RPCError` of the shim or the agent, such as `invalidArgument` for an unknown option. `SystemError`
    ///   when the shim of a container that has not ended can't be reached.
    func table(_ options: [String]) throws -> [UInt8] {
        var request = Grpc_ListProcessesRequest()
        (request.containerID, request.format, request.args) = (state.id, "table", options)
        do {
            let answer: Grpc_ListProcessesResponse = try TaskClient.connect(state.address).ask("ListProcesses", request)
            return Array(answer.processList)
        } catch {
            guard hasEnded, (error as? RPCError)?.code != .invalidArgument else { throw error }
            return Self.heading
        }
    }

    /// The host's pid of the attach process, as a JSON list; `null` for a container that has ended, as runc prints it.
    ///
    /// Managers look the pids up on the host (go-runc, Docker's top), where the guest's mean other processes.
    package var json: String {
        get throws { hasEnded ? "null" : "[\(try state.here().pid)]" }
    }
}
