import AgentAPI
import ArgumentParser
import Glibc
import OCISpec
import ShimAPI

extension ContainerState {
    /// The shim of a container that can be asked about its guest.
    func running() throws -> TaskClient {
        let task = try TaskClient.connect(address)
        guard try task.state(id).status != .stopped else { throw RuntimeError("container \"\(id)\" is not running") }
        return task
    }
}

extension GlobalOptions {
    /// What leads to the shim of a container that has not ended.
    func running(_ id: String) throws -> TaskClient { try ContainerState.load(root: root, id: id).running() }
}

struct Ps: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ps", abstract: "Lists the processes of a container, as the guest numbers them.")
    @Option(
        name: .shortAndLong,
        help: "table; or json: the host's number of the process that stands for them, which managers look up there.")
    var format = "table"
    @Argument(help: "The container's id.") var id: String
    @Argument(parsing: .captureForPassthrough, help: "Options of ps(1): -ef, aux or -o FIELD,FIELD…") var options:
        [String] = []
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        guard ["table", "json"].contains(format) else {
            throw RuntimeError("unknown format \"\(format)\": table or json")
        }
        let state = try ContainerState.load(root: runtime.global.root, id: id)
        let task = try state.running()
        // The guest's numbers would be those of other processes of the host (go-runc, Docker's top).
        guard format == "table" else { return print("[\(try state.here().pid)]") }
        var request = Grpc_ListProcessesRequest()
        request.containerID = id
        request.format = format
        request.args = options
        let answer: Grpc_ListProcessesResponse = try task.ask("ListProcesses", request)
        show(Array(answer.processList), terminator: "")
    }
}

struct Metrics: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Prints figures of a guest in Prometheus' format.")
    @Argument(help: "The id of a container in it.") var id: String
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        let task = try runtime.global.running(id)
        let answer: Grpc_Metrics = try task.ask("GetMetrics", Grpc_GetMetricsRequest())
        show(answer.metrics, terminator: "")
    }
}
