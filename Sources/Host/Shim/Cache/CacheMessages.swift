import Configuration
import FoundationEssentials
import Glibc
import LinuxKernel

/// A request to a VM cache server, one message of its socket.
struct CacheRequest: Codable, Sendable {
    enum Wish: String, Codable, Sendable { case take, status, quit }
    var wish: Wish
    /// The sandbox's data for a `take`. Descriptors sent with it: the connection to the shim, its working directory,
    /// its log.
    var taker: CacheTaker?

    static let longest = 64 << 10
}

/// The sandbox that takes a machine, and the settings of its shim.
struct CacheTaker: Codable, Equatable, Sendable {
    /// The program's version, which must equal the shim's.
    var version: String
    /// The configuration's settings without the factory's own keys.
    var settings: String
    /// The pid of the caller, and its mount namespace.
    var process: Int32
    var mounts: UInt64
    /// Flags of the shim.
    var id: String
    var namespace: String
    var address: String
    var publishBinary: String
    var debug: Bool
    /// The socket on which to listen.
    var socket: String
    var configuration: String?
    /// containerd's ttrpc socket.
    var publisher: String?
    /// The caller's oom_score_adj, which a new shim would inherit.
    var killFirst: String?
    /// The manager's resource limits (`ResourceLimits.text`).
    var limits: String?
}

/// An answer of the server or of a shim.
struct CacheAnswer: Codable, Equatable, Sendable {
    /// The reason why there is no machine.
    var refusal: String?
    /// The pid of the process that answers.
    var process = getpid()
    var machines: [CachedMachine] = []
}

/// A warm VM.
package struct CachedMachine: Codable, Equatable, Sendable {
    /// Pid of the hypervisor.
    package var process: Int32
    package var vcpus: Int
    package var memoryMiB: Int

    package init(process: Int32, vcpus: Int, memoryMiB: Int) {
        (self.process, self.vcpus, self.memoryMiB) = (process, vcpus, memoryMiB)
    }

    /// The line that Kata prints.
    package var line: String { "VM pid = \(process) Cpu = \(vcpus) Memory = \(memoryMiB)MiB" }
}

/// The reason why no warm VM can be used.
package struct CacheError: Error, CustomStringConvertible {
    package let description: String
    init(_ description: String) { self.description = description }
}

extension FileDescriptor {
    func tell(_ message: some Encodable, descriptors: [Int32] = []) throws {
        try send(Array(JSONEncoder().encode(message)), descriptors: descriptors)
    }
}

/// - Returns: nil when the bytes are no such message.
func decodeMessage<Message: Decodable>(_ type: Message.Type, _ bytes: [UInt8]) -> Message? {
    try? JSONDecoder().decode(type, from: Data(bytes))
}

extension Configuration {
    /// Settings that decide about the machine: equal ones lead to equal machines.
    var cacheSettings: String {
        settings(but: [Keys.enableTemplate, Keys.templatePath, Keys.cacheNumber, Keys.cacheEndpoint])
    }
}
