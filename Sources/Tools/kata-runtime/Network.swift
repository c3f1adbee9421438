import AgentAPI
import ArgumentParser
import OCISpec

struct Network: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kata-network", abstract: "Shows the links and routes of a container's guest.",
        subcommands: [ListInterfaces.self, ListRoutes.self])

    @ParentCommand var runtime: KataRuntime

    struct ListInterfaces: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list-ifaces", abstract: "Prints the guest's links as JSON.")
        @Argument(help: "The container's id.") var id: String
        @ParentCommand var network: Network

        private struct Row: Encodable {
            struct Address: Encodable {
                let family: Int
                let address: String
                let mask: String
            }
            let device: String
            let name: String
            let addresses: [Address]
            let mtu: UInt64
            let hwAddr: String
            let pciPath: String
            let type: String
            let flags: UInt32

            private enum CodingKeys: String, CodingKey {
                case device, name, mtu, hwAddr, pciPath, type
                case addresses = "IPAddresses"
                case flags = "raw_flags"
            }
        }

        func run() throws {
            let task = try ContainerState.load(root: network.runtime.global.root, id: id).running()
            let answer: Grpc_Interfaces = try task.ask("ListInterfaces", Grpc_ListInterfacesRequest())
            let rows = answer.interfaces.map { link in
                Row(
                    device: link.device, name: link.name,
                    addresses: link.ipaddresses.map {
                        Row.Address(family: $0.family.rawValue, address: $0.address, mask: $0.mask)
                    }, mtu: link.mtu, hwAddr: link.hwAddr, pciPath: link.devicePath, type: link.type,
                    flags: link.rawFlags)
            }
            print(String(decoding: rows.json(), as: UTF8.self))
        }
    }

    struct ListRoutes: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list-routes", abstract: "Prints the guest's routes as JSON.")
        @Argument(help: "The container's id.") var id: String
        @ParentCommand var network: Network

        private struct Row: Encodable {
            let dest: String
            let gateway: String
            let device: String
            let source: String
            let scope: UInt32
            let family: Int
            let mtu: UInt32
        }

        func run() throws {
            let task = try ContainerState.load(root: network.runtime.global.root, id: id).running()
            let answer: Grpc_Routes = try task.ask("ListRoutes", Grpc_ListRoutesRequest())
            let rows = answer.routes.map {
                Row(
                    dest: $0.dest, gateway: $0.gateway, device: $0.device, source: $0.source, scope: $0.scope,
                    family: $0.family.rawValue, mtu: $0.mtu)
            }
            print(String(decoding: rows.json(), as: UTF8.self))
        }
    }
}
