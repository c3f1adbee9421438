import AgentAPI
import TTRPC

extension Service {
    func listProcesses(_ request: Grpc_ListProcessesRequest, _ context: CallContext) async throws
        -> Grpc_ListProcessesResponse
    {
        try await mappingErrorsToRPC {
            let processes = try guest.containers.find(request.containerID).cgroup.allProcesses.sorted()
            var response = Grpc_ListProcessesResponse()
            switch request.format {
            case "json":
                response.processList = .init("[\(processes.map(String.init).joined(separator: ","))]".utf8)
            case "", "table":
                do {
                    let table = try ProcessTable(options: request.args)
                    response.processList = .init(table.text(processes.compactMap(ProcessEntry.read), .current).utf8)
                } catch let error as ProcessTableError { throw RPCError(.invalidArgument, error.description) }
            default:
                throw RPCError(.invalidArgument, "format: \"\(request.format)\" is neither table nor json")
            }
            return response
        }
    }
}
