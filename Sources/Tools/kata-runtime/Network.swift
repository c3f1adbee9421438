import ArgumentParser
import CommandLine

struct Network: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kata-network", abstract: "Shows and changes the network interfaces and routes of a guest.",
        subcommands: [
            AddInterface.self, DelInterface.self, ListInterfaces.self, ListRoutes.self, UpdateRoutes.self,
        ])

    @ParentCommand var runtime: KataRuntime

    struct AddInterface: ChangingCommand {
        static let configuration = CommandConfiguration(
            commandName: "add-iface",
            abstract: "Gives the guest an interface of the container's network namespace, and prints it.",
            discussion: """
                The interface must be in the namespace already (ip link set LINK netns PID). It gets the name, hwAddr, mtu
                and IPAddresses of the JSON object, and is set up.
                """)
        @Argument(help: "The container's id.") var id: String
        @Argument(help: "File with the interface as JSON; - for standard input.") var file: String
        @ParentCommand var network: Network
        var runtime: KataRuntime { network.runtime }

        func run() throws { try GuestInterfaces(of: id, in: runtime.context).add(file) }
    }

    struct DelInterface: ChangingCommand {
        static let configuration = CommandConfiguration(
            commandName: "del-iface",
            abstract: "Removes an interface from the guest, and prints it as it was.",
            discussion: "The interface stays in the container's network namespace.")
        @Argument(help: "The container's id.") var id: String
        @Argument(help: "File with the interface's name or hwAddr as JSON; - for standard input.") var file: String
        @ParentCommand var network: Network
        var runtime: KataRuntime { network.runtime }

        func run() throws { try GuestInterfaces(of: id, in: runtime.context).remove(file) }
    }

    struct ListInterfaces: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list-ifaces",
            abstract: "Prints the guest's network interfaces as JSON, and those it does not get with their fault.")
        @Argument(help: "The container's id.") var id: String
        @ParentCommand var network: Network

        func run() throws { try GuestInterfaces(of: id, in: network.runtime.context).printAll() }
    }

    struct ListRoutes: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list-routes", abstract: "Prints the guest's routes as JSON.")
        @Argument(help: "The container's id.") var id: String
        @ParentCommand var network: Network

        func run() throws { try GuestRoutes(of: id, in: network.runtime.context).printAll() }
    }

    struct UpdateRoutes: ChangingCommand {
        static let configuration = CommandConfiguration(
            commandName: "update-routes",
            abstract: "Replaces the guest's routes by a JSON list as list-routes prints, and prints the new ones.")
        @Argument(help: "The container's id.") var id: String
        @Argument(help: "File with the list; - for standard input.") var file: String
        @ParentCommand var network: Network
        var runtime: KataRuntime { network.runtime }

        func run() throws { try GuestRoutes(of: id, in: runtime.context).replace(by: file) }
    }
}
