import FoundationEssentials
import Glibc
import LinuxKernel
import OCISpec
import Pod

/// The command line's record of a container between commands: `<root>/<id>/state.json`.
package struct ContainerState: Codable, Sendable {
    /// The version of the file's format.
    static let version = 1
    /// nil in the oldest files, which equal version 1.
    var version: Int? = ContainerState.version
    var ociVersion: String
    package var id: String
    package var bundle: String
    var rootfs: String
    /// The sandbox's name, if it is not the container's.
    var sandbox: String?
    /// Unix socket of the shim's task API.
    var address: String
    /// Pid of the attach process.
    package var pid: Int32
    /// Start time of the attach process (`ProcessIdentity`).
    var start: UInt64?
    /// The pid and time namespaces in which pid and start are valid; nil in the oldest files.
    var processes: ProcessNamespace? = .own
    /// RFC 3339.
    var created: String
    var owner: UInt32
    var annotations: [String: String]
    /// The process that creates the container; nil once it is created.
    var creator: ProcessIdentity?

    /// The attach process; nil if its pid is of another pid namespace.
    var process: ProcessIdentity? { isForeign ? nil : start.map { ProcessIdentity(pid: pid, start: $0) } }

    /// The life of the process that creates the container; nil once it is created, or where its pid is not valid here.
    var creation: ProcessIdentity.Life? { isForeign ? nil : creator?.life }

    /// Whether the container was never complete, and nothing completes it any more.
    var isAbandoned: Bool { creation == .ended }

    var isForeign: Bool { processes?.isForeign == true }

    /// Checks that the pids are valid for this process.
    /// - Returns: self.
    /// - Throws: `RuntimeError` if the pids belong to another pid or time namespace, and the shim is alive.
    package func here() throws(RuntimeError) -> ContainerState {
        if let processes, processes.isForeign, processes.mayHold(listener: address) {
            throw RuntimeError(
                "container \"\(id)\" was made in another pid or time namespace, where its processes have other numbers: run this there"
            )
        }
        return self
    }

    var sandboxName: String { sandbox ?? id }

    static func directory(root: String, id: String) -> String { root + "/" + id }

    /// Accepts ids that are one plain file name.
    /// - Throws: `IdentifierError` for any other.
    package static func validate(id: String) throws(IdentifierError) { try Identifier.check(id, "container id") }

    /// Reads the state of a container.
    /// - Throws: `IdentifierError` for an id that is not valid. `RuntimeError` without such a container, or for a file
    ///   of another format.
    package static func load(root: String, id: String) throws -> ContainerState {
        try validate(id: id)
        let path = directory(root: root, id: id) + "/state.json"
        let bytes: [UInt8]
        do { bytes = try Files.read(path) } catch {
            // An ordinary user can't see whether it exists.
            if error.code == EACCES { throw RuntimeError("\(error); containers are root's") }
            throw RuntimeError("container \"\(id)\" does not exist")
        }
        try checkVersion(bytes, path)
        do { return try JSONDecoder().decode(ContainerState.self, from: Data(bytes)) } catch {
            throw RuntimeError("\(path): not a state file of this runtime; remove the container with delete --force")
        }
    }

    private struct Header: Decodable { let version: Int? }

    /// - Throws: `RuntimeError` for a file of a later version.
    private static func checkVersion(_ bytes: [UInt8], _ path: String) throws(RuntimeError) {
        guard let found = (try? JSONDecoder().decode(Header.self, from: Data(bytes)))?.version, found > version else {
            return
        }
        throw RuntimeError(
            "\(path) was written by a later version of this program (format \(found), this one knows \(version)): use that one"
        )
    }

    /// - Returns: nil if there is no file or it can't be read: the container is removed without it.
    /// - Throws: `RuntimeError` for a file of a later version.
    static func forRemoval(root: String, id: String) throws -> ContainerState? {
        let path = directory(root: root, id: id) + "/state.json"
        if let bytes = try? Files.read(path) { try checkVersion(bytes, path) }
        return try? load(root: root, id: id)
    }

    func save(root: String) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        let text = String(decoding: try encoder.encode(self), as: UTF8.self)
        try Files.replace(Self.directory(root: root, id: id) + "/state.json", text)
    }

    /// The containers whose state can be read.
    package static func all(root: String) -> [ContainerState] {
        Files.list(root).compactMap { try? load(root: root, id: $0) }
    }

    /// The container as others that join its namespaces find it.
    var known: SandboxMembership.Known {
        let lives = process.map { $0.life != .ended } ?? false
        return SandboxMembership.Known(id: id, sandbox: sandboxName, process: lives ? pid : nil)
    }
}
