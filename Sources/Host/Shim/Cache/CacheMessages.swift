import Configuration
import FoundationEssentials
import Glibc
import LinuxKernel

/// What a server of cached machines is asked, in one message of its socket.
struct CacheRequest: Codable, Sendable {
    enum Wish: String, Codable, Sendable { case take, status, quit }
    var wish: Wish
    /// Of a `take`. The descriptors that come along: the conversation with the shim, its working directory, its log.
    var taker: CacheTaker?

    static let longest = 64 << 10
}

/// Who takes a machine, and what its shim is to be.
struct CacheTaker: Codable, Equatable, Sendable {
    /// Of the program, as the shim's must be.
    var version: String
    /// What the configuration sets, but for the factory's own keys.
    var settings: String
    /// The process that asks, and its mount namespace.
    var process: Int32
    var mounts: UInt64
    /// As in the shim's flags.
    var id: String
    var namespace: String
    var address: String
    var publishBinary: String
    var debug: Bool
    /// Where it is to listen.
    var socket: String
    var configuration: String?
    /// containerd's ttrpc socket.
    var publisher: String?
    /// Of the process that asks: a new shim would have it.
    var killFirst: String?
}

/// The server's, or a shim's.
struct CacheAnswer: Codable, Equatable, Sendable {
    /// Why there is no machine.
    var refusal: String?
    /// Who answers.
    var process = getpid()
    var machines: [CachedMachine] = []
}

/// A machine that waits.
package struct CachedMachine: Codable, Equatable, Sendable {
    /// The hypervisor's.
    package var process: Int32
    package var vcpus: Int
    package var memoryMiB: Int

    package init(process: Int32, vcpus: Int, memoryMiB: Int) {
        (self.process, self.vcpus, self.memoryMiB) = (process, vcpus, memoryMiB)
    }

    /// As Kata writes it.
    package var line: String { "VM pid = \(process) Cpu = \(vcpus) Memory = \(memoryMiB)MiB" }
}

/// Why no cached machine is had.
package struct CacheError: Error, CustomStringConvertible {
    package let description: String
    init(_ description: String) { self.description = description }
}

extension FileDescriptor {
    func tell(_ message: some Encodable, descriptors: [Int32] = []) throws {
        try send(Array(JSONEncoder().encode(message)), descriptors: descriptors)
    }
}

/// - Returns: nil for what is none.
func decodeMessage<Message: Decodable>(_ type: Message.Type, _ bytes: [UInt8]) -> Message? {
    try? JSONDecoder().decode(type, from: Data(bytes))
}

extension Configuration {
    /// Equal ones lead to the same machine.
    var cacheSettings: String {
        settings(but: [Keys.enableTemplate, Keys.templatePath, Keys.cacheNumber, Keys.cacheEndpoint])
    }
}

/// Mounts, as far as they can be compared between namespaces.
enum MountView {
    /// What one sees and another doesn't: the first of its mount points; nil when there is nothing.
    /// - Parameters: as in proc_pid_mountinfo(5).
    static func firstUnseen(of theirs: String, in ours: String) -> String? {
        let seen = Set(mounts(ours).map(\.identity))
        return mounts(theirs).first { !seen.contains($0.identity) }?.point
    }

    private static func mounts(_ text: String) -> [(identity: String, point: String)] {
        text.split(separator: "\n").compactMap { line in
            let words = line.split(separator: " ")
            guard words.count > 4 else { return nil }
            // Device, root, mount point; the numbers before are each namespace's own.
            return (words[2...4].joined(separator: " "), String(words[4]))
        }
    }
}
