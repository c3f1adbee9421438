import AgentAPI
import ArgumentParser
import EventLoop
import Glibc
import LinuxKernel
import Netlink
import Network
import OCISpec
import Shim

extension Network {
    struct AddInterface: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "add-iface",
            abstract: "Gives the guest a link of the container's network namespace; prints it as the guest has it.",
            discussion: """
                The link must be in the namespace already (ip link set LINK netns PID). It gets the name, hwAddr, mtu and
                IPAddresses of the JSON object, and is set up.
                """)
        @Argument(help: "The container's id.") var id: String
        @Argument(help: "File with the interface; - for standard input.") var file: String
        @ParentCommand var network: Network

        func run() throws {
            let wanted = try InterfaceRow.read(file)
            let (state, task) = try network.container(id)
            let setting = try wanted.setting(source: file)
            try state.inNetworkNamespace { try setting.apply() }
            do {
                let links: Grpc_Interfaces = try task.ask(GuestQueries.follow, Grpc_ListInterfacesRequest())
                guard let link = links.interfaces.first(where: { $0.name == setting.name }) else {
                    throw RuntimeError("the guest has no link \(setting.name)")
                }
                show(InterfaceRow(link).json())
            } catch {
                // As it came: the guest does not get it later, when nobody expects it.
                try? state.inNetworkNamespace { try LinkSetting.release(setting.name, nil) }
                throw error
            }
        }
    }

    struct DelInterface: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "del-iface",
            abstract: "Takes a link from the guest; it stays in the container's network namespace. Prints it as it was."
        )
        @Argument(help: "The container's id.") var id: String
        @Argument(help: "File with the interface's name or hwAddr; - for standard input.") var file: String
        @ParentCommand var network: Network

        func run() throws {
            let given = try InterfaceRow.read(file)
            let (state, task) = try network.container(id)
            let name = given.name ?? given.device ?? ""
            let address = given.hwAddr.flatMap { HardwareAddress($0) }
            guard !name.isEmpty || address != nil else {
                throw RuntimeError("\(file): neither name nor hwAddr says which interface is meant")
            }
            let before: Grpc_Interfaces = try task.ask("ListInterfaces", Grpc_ListInterfacesRequest())
            guard
                let link = before.interfaces.first(where: {
                    name.isEmpty ? $0.hwAddr == address?.description : $0.name == name
                })
            else { throw RuntimeError("the guest has no link \(name.isEmpty ? address?.description ?? "" : name)") }
            // By its name: on the host it may have another address meanwhile (macvtap).
            try state.inNetworkNamespace { try LinkSetting.release(link.name, nil) }
            let _: Grpc_Interfaces = try task.ask(GuestQueries.follow, Grpc_ListInterfacesRequest())
            show(InterfaceRow(link).json())
        }
    }
}

extension Network {
    fileprivate func container(_ id: String) throws -> (ContainerState, TaskClient) {
        let state = try ContainerState.load(root: runtime.global.root, id: id).here()
        return (state, try state.running())
    }
}

extension ContainerState {
    /// On the calling thread, which comes back.
    fileprivate func inNetworkNamespace(_ body: () throws -> Void) throws {
        let here = try NetworkNamespace.open("/proc/thread-self/ns/net")
        try NetworkNamespace.open("/proc/\(pid)/ns/net").enter()
        defer { try? here.enter() }
        try body()
    }
}

/// A link as Kata writes it.
struct InterfaceRow: Codable {
    struct Address: Codable {
        let family: Int?
        let address: String
        let mask: String?
    }
    let device: String?
    let name: String?
    let addresses: [Address]?
    let mtu: UInt64?
    let hwAddr: String?
    let pciPath: String?
    let type: String?
    let flags: UInt32?

    private enum CodingKeys: String, CodingKey {
        case device, name, mtu, hwAddr, pciPath, type
        case addresses = "IPAddresses"
        case flags = "raw_flags"
    }

    init(_ link: Types_Interface) {
        (device, name, mtu, hwAddr) = (link.device, link.name, link.mtu, link.hwAddr)
        (pciPath, type, flags) = (link.devicePath, link.type, link.rawFlags)
        addresses = link.ipaddresses.map { Address(family: $0.family.rawValue, address: $0.address, mask: $0.mask) }
    }

    static func read(_ file: String) throws -> InterfaceRow {
        try Network.read(
            file,
            "interface such as {\"name\": \"eth1\", \"IPAddresses\": [{\"address\": \"10.1.0.2\", \"mask\": \"24\"}], \"mtu\": 1500}"
        )
    }

    /// - Parameter source: names where it is from, in errors.
    func setting(source: String) throws -> LinkSetting {
        guard let name = [name, device].lazy.compactMap({ $0 }).first(where: { !$0.isEmpty }) else {
            throw RuntimeError("\(source): name: missing")
        }
        var hardware: HardwareAddress?
        if let hwAddr, !hwAddr.isEmpty {
            hardware = HardwareAddress(hwAddr)
            guard hardware?.bytes.count == 6 else { throw RuntimeError("\(source): hwAddr: \"\(hwAddr)\" is none") }
        }
        let prefixes = try (addresses ?? []).map { given in
            let text = given.mask.map { $0.isEmpty ? "" : "/" + $0 } ?? ""
            guard let prefix = Prefix(given.address + text) else {
                throw RuntimeError(
                    "\(source): IPAddresses: \"\(given.address)\(text)\" is none, with the mask as a number of bits")
            }
            return prefix
        }
        guard !prefixes.isEmpty else {
            throw RuntimeError("\(source): IPAddresses: missing: a guest gets links that have an address")
        }
        let device = device.flatMap { $0.isEmpty ? nil : $0 } ?? name
        return LinkSetting(
            device: device, name: name, hardwareAddress: hardware,
            mtu: mtu.flatMap { $0 == 0 ? nil : UInt32(clamping: $0) },
            addresses: prefixes)
    }
}
