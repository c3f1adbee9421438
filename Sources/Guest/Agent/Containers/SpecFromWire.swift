import AgentAPI
import FoundationEssentials
import OCISpec
import TTRPC

// A host that knows this agent sends the specification's own JSON (`AgentFeature.specJSON`). The older messages lack
// some fields and can't tell zero from absent.

extension Grpc_CreateContainerRequest {
    func specification() throws -> OCISpec.Spec {
        specJson.isEmpty ? OCISpec.Spec(oci) : try decode(specJson, "config.json")
    }
}

extension Grpc_ExecProcessRequest {
    func specification() throws -> OCISpec.Process {
        processJson.isEmpty ? OCISpec.Process(process) : try decode(processJson, "process.json")
    }
}

extension Grpc_UpdateContainerRequest {
    func limits() throws -> OCISpec.Linux.Resources {
        resourcesJson.isEmpty ? OCISpec.Linux.Resources(resources) : try decode(resourcesJson, "resources.json")
    }
}

private func decode<Value: Decodable>(_ bytes: Data, _ name: String) throws(RPCError) -> Value {
    do { return try Value.decode(json: Array(bytes), source: name) } catch {
        throw RPCError(.invalidArgument, error.description)
    }
}
