import AgentAPI
import EventLoop
import GuestNetwork
import SwiftProtobuf
import TTRPC

/// Links, routes and neighbours of the guest.
extension Service {
    func updateInterface(_ request: Grpc_UpdateInterfaceRequest, _ context: CallContext) async throws -> Types_Interface
    {
        let timeout = KernelCommandLine.current.hotPlugTimeout
        return try await network { try NetworkSettings.update(request.interface, timeout: timeout) }
    }

    func listInterfaces(_ request: Grpc_ListInterfacesRequest, _ context: CallContext) async throws -> Grpc_Interfaces {
        try await network { try NetworkSettings.interfaces() }
    }

    func updateRoutes(_ request: Grpc_UpdateRoutesRequest, _ context: CallContext) async throws -> Grpc_Routes {
        try await network { try NetworkSettings.update(request.routes.routes) }
    }

    func listRoutes(_ request: Grpc_ListRoutesRequest, _ context: CallContext) async throws -> Grpc_Routes {
        try await network { try NetworkSettings.routes() }
    }

    func addARPNeighbors(_ request: Grpc_AddARPNeighborsRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        try await network { try NetworkSettings.add(request.neighbors.arpneighbors) }
        return Google_Protobuf_Empty()
    }

    func updateNetwork(_ request: Grpc_UpdateNetworkRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        let timeout = KernelCommandLine.current.hotPlugTimeout
        try await network { try Self.networkState.update(request.network, timeout: timeout) }
        return Google_Protobuf_Empty()
    }

    /// The guest has one network.
    private static let networkState = GuestNetworkState()

    private func network<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
        try await mappingErrorsToRPC {
            try await blocking("network") {
                // A link's driver may be among the modules that are loaded after boot.
                Modules.wait()
                return try body()
            }
        }
    }
}
