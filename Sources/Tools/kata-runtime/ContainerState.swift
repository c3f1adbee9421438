import FoundationEssentials
import Glibc
import LinuxKernel
import OCISpec

/// A failure that a person reads as one line.
struct RuntimeError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// What the command line remembers of a container between its calls: `<root>/<id>/state.json`.
struct ContainerState: Codable {
    /// Of this format.
    static let version = 1
    /// nil in files from before there was one: they are as those of version 1.
    var version: Int? = ContainerState.version
    var ociVersion: String
    var id: String
    var bundle: String
    var rootfs: String
    /// The container that was the first of its sandbox, or a name like it; nil as the container's own.
    var sandbox: String?
    /// Unix socket of the shim's task API.
    var address: String
    /// The attach process: ends with the container's status.
    var pid: Int32
    /// When that started (ProcessIdentity).
    var start: UInt64?
    /// Where those two mean that process; nil in files of a version that didn't tell.
    var processes: ProcessNamespace? = .own
    /// RFC 3339.
    var created: String
    var owner: UInt32
    var annotations: [String: String]

    /// The attach process; nil where it isn't known by its number.
    var process: ProcessIdentity? { isForeign ? nil : start.map { ProcessIdentity(pid: pid, start: $0) } }

    private var isForeign: Bool { processes?.isForeign == true }

    /// Itself, for what needs its process, or leads its shim to one of the caller's.
    /// - Throws: where either's numbers are those of strangers for the other, and the shim lives.
    func here() throws(RuntimeError) -> ContainerState {
        if let processes, processes.isForeign, processes.mayHold(listener: address) {
            throw RuntimeError(
                "container \"\(id)\" was made in another pid or time namespace, where its processes have other numbers: run this there"
            )
        }
        return self
    }
    var sandboxName: String { sandbox ?? id }

    static func directory(root: String, id: String) -> String { root + "/" + id }

    /// Names that can't leave the state directory.
    static func validate(id: String) throws(IdentifierError) { try Identifier.check(id, "container id") }

    static func load(root: String, id: String) throws -> ContainerState {
        try validate(id: id)
        let path = directory(root: root, id: id) + "/state.json"
        guard let bytes = try? Files.read(path) else { throw RuntimeError("container \"\(id)\" does not exist") }
        try checkVersion(bytes, path)
        do { return try JSONDecoder().decode(ContainerState.self, from: Data(bytes)) } catch {
            throw RuntimeError("\(path): not a state file of this runtime; remove the container with delete --force")
        }
    }

    private struct Head: Decodable { let version: Int? }

    /// - Throws: for a file that this program would misunderstand.
    private static func checkVersion(_ bytes: [UInt8], _ path: String) throws(RuntimeError) {
        guard let found = (try? JSONDecoder().decode(Head.self, from: Data(bytes)))?.version, found > version else {
            return
        }
        throw RuntimeError(
            "\(path) was written by a later version of this program (format \(found), this one knows \(version)): use that one"
        )
    }

    /// nil where there is none, or none that can be read: what there is of the container is removed without it.
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

    static func all(root: String) -> [ContainerState] { Files.list(root).compactMap { try? load(root: root, id: $0) } }
}
