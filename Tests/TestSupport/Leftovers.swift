import Cleanup
import FoundationEssentials
import Glibc
import LinuxKernel

/// An open file by the numbers that the kernel gives it.
package struct FileIdentity: Hashable, Sendable {
    private let device: UInt64
    private let inode: UInt64

    package init(descriptor: Int32) throws {
        var facts = stat()
        try check("look at", "descriptor \(descriptor)") { fstat(descriptor, &facts) }
        (device, inode) = (UInt64(facts.st_dev), UInt64(facts.st_ino))
    }

    /// Whether this process has a descriptor of the file.
    package var isOpen: Bool {
        Files.list("/proc/self/fd").compactMap { Int32($0) }.contains { (try? Self(descriptor: $0)) == self }
    }
}

/// A ledger's file, as another process would read it.
package struct LedgerFile {
    /// A thing that a record names.
    package struct Thing: Hashable, Sendable, CustomStringConvertible {
        package let kind: String
        /// A path or a name.
        package let name: String
        package var description: String { "\(kind) \(name)" }
    }

    private struct Line: Decodable {
        struct Payload: Decodable {
            let name: String
            private enum Keys: String, CodingKey { case path, name }
            init(from decoder: any Decoder) throws {
                let values = try decoder.container(keyedBy: Keys.self)
                let path = try? values.decode(String.self, forKey: .path)
                name = path ?? (try? values.decode(String.self, forKey: .name)) ?? ""
            }
        }
        let number: Int
        var entry: [String: Payload]?
    }

    /// The things in the order of their records, without those that are undone and without the owner.
    package private(set) var left: [Thing] = []
    /// The things that are undone, in that order.
    package private(set) var undone: [Thing] = []

    package init(_ ledger: Ledger) {
        let bytes = (try? Files.read(ledger.directory + "/ledger")) ?? []
        var things: [(number: Int, thing: Thing)] = []
        for text in bytes.split(separator: UInt8(ascii: "\n")) {
            guard let line = try? JSONDecoder().decode(Line.self, from: Data(text)) else { continue }
            if let (kind, payload) = line.entry?.first {
                guard kind != "keeper" else { continue }
                things.append((line.number, Thing(kind: kind, name: payload.name)))
            } else if let index = things.firstIndex(where: { $0.number == line.number }) {
                undone.append(things.remove(at: index).thing)
            }
        }
        left = things.map(\.thing)
    }
}

extension FakeSandbox {
    /// Things of the sandbox that are left on the host: running parts, ports, records of the ledger, and descriptors.
    package var leftovers: [String] {
        var left: [String] = []
        for (number, machine) in hypervisor.machines.enumerated() {
            if machine.exit == nil { left.append("machine \(number)") }
            if machine.memory?.isOpen == true { left.append("memory of machine \(number)") }
        }
        if share.servers.contains(where: { !$0.hasEnded }) { left.append(share.serverName) }
        if channel.isOpen { left.append("channel") }
        left += channel.ports.map { "port \($0)" }
        for agent in agents where !channel.waiting.contains(agent.host) && agent.hostEnd.isOpen {
            left.append("connection to the agent")
        }
        left += LedgerFile(ledger).left.map(\.description)
        return left + descriptors
    }

    /// Files of the sandbox's own that this process has open, beside the ledger's.
    private var descriptors: [String] {
        Files.list("/proc/self/fd").compactMap { try? Files.link("/proc/self/fd/" + $0) }.filter {
            $0.hasPrefix(scratch.path + "/") && !$0.hasSuffix("/ledger")
        }
    }
}
