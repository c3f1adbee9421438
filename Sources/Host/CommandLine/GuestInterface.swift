import AgentAPI
import EventLoop
import Glibc
import LinuxKernel
import Netlink
import Network
import OCISpec
import Shim

/// Changes the network interfaces of a container's guest (`kata-network`).
package struct GuestInterfaces {
    private let state: ContainerState
    private let task: TaskClient

    /// Connects to the shim of a running container.
    /// - Throws: `IdentifierError` for an id that is not valid. `RuntimeError` for a container that does not exist,
    ///   does not run, or is of another pid namespace. `SystemError` when the shim's socket has no listener.
    package init(of id: String, in context: RuntimeContext) throws {
        state = try context.state(id).here()
        task = try state.connectIfRunning()
    }

    /// Prints all interfaces as JSON.
    /// - Throws: `RPCError` of the shim or the agent.
    package func printAll() throws { printGuest(try all().map(GuestInterface.init).json()) }

    /// Gives the guest an interface of the container's network namespace, and prints it.
    /// - Parameter file: JSON of a `GuestInterface`; `-` for standard input.
    /// - Throws: `SystemError` for a file that can't be read or a link that can't be set. `RuntimeError` for another
    ///   content, or a link that the guest doesn't get. `NetworkError` for a link that the namespace lacks, or that is
    ///   in use. `RPCError` of the agent.
    package func add(_ file: String) throws {
        let setting = try GuestInterface.read(file).setting(source: file)
        try inNetworkNamespace { try setting.apply() }
        do {
            let links: Grpc_Interfaces = try task.ask(GuestQueries.follow, Grpc_ListInterfacesRequest())
            guard let link = links.interfaces.first(where: { $0.name == setting.name }) else {
                throw RuntimeError("the guest has no link \(setting.name)")
            }
            guard link.fault.isEmpty else { throw RuntimeError("link \(setting.name) \(link.fault)") }
            printGuest(GuestInterface(link).json())
        } catch {
            // Otherwise the guest would get it with the next change of the namespace.
            try? inNetworkNamespace { try LinkSetting.release(setting.name, nil) }
            throw error
        }
    }

    /// Removes an interface from the guest, and prints it as it was. It stays in the network namespace.
    /// - Parameter file: JSON with its name or hwAddr; `-` for standard input.
    /// - Throws: `SystemError` for a file that can't be read or a link that can't be set. `RuntimeError` for another
    ///   content, or a link that the guest doesn't have. `NetworkError` for one that the namespace lacks. `RPCError` of
    ///   the agent.
    package func remove(_ file: String) throws {
        let given = try GuestInterface.read(file)
        let name = given.name ?? given.device ?? ""
        let address = given.hwAddr.flatMap { HardwareAddress($0) }
        guard !name.isEmpty || address != nil else {
            throw RuntimeError("\(file): neither name nor hwAddr says which interface is meant")
        }
        let found = try all().first {
            $0.fault.isEmpty && (name.isEmpty ? $0.hwAddr == address?.description : $0.name == name)
        }
        guard let link = found else {
            throw RuntimeError("the guest has no link \(name.isEmpty ? address?.description ?? "" : name)")
        }
        // By name: on the host its address may differ (macvtap).
        try inNetworkNamespace { try LinkSetting.release(link.name, nil) }
        let _: Grpc_Interfaces = try task.ask(GuestQueries.follow, Grpc_ListInterfacesRequest())
        printGuest(GuestInterface(link).json())
    }

    private func all() throws -> [Types_Interface] {
        let answer: Grpc_Interfaces = try task.ask("ListInterfaces", Grpc_ListInterfacesRequest())
        return answer.interfaces
    }

    /// Runs `body` with the calling thread in the container's network namespace.
    private func inNetworkNamespace(_ body: () throws -> Void) throws {
        let callers = try NetworkNamespace.open("/proc/thread-self/ns/net")
        try NetworkNamespace.open("/proc/\(state.pid)/ns/net").enter()
        defer { try? callers.enter() }
        try body()
    }
}

/// A network interface in Kata's JSON format.
struct GuestInterface: Codable {
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
    /// Why the guest doesn't have this link of the network namespace; nil for those that it has.
    let fault: String?

    private enum CodingKeys: String, CodingKey {
        case device, name, mtu, hwAddr, pciPath, type, fault
        case addresses = "IPAddresses"
        case flags = "raw_flags"
    }

    init(_ link: Types_Interface) {
        (device, name, mtu, hwAddr) = (link.device, link.name, link.mtu, link.hwAddr)
        (pciPath, type, flags) = (link.devicePath, link.type, link.rawFlags)
        fault = link.fault.isEmpty ? nil : link.fault
        addresses = link.ipaddresses.map { Address(family: $0.family.rawValue, address: $0.address, mask: $0.mask) }
    }

    static func read(_ file: String) throws -> GuestInterface {
        try InputFile.decode(
            file,
            "interface such as {\"name\": \"eth1\", \"IPAddresses\": [{\"address\": \"10.1.0.2\", \"mask\": \"24\"}], \"mtu\": 1500}"
        )
    }

    /// The setting for the interface on the host, which the guest copies.
    /// - Parameter source: the file's name, for errors.
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
