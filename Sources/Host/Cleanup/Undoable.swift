import LinuxKernel
import Synchronization

/// A kind of thing on the host that a sandbox makes and that any process can remove again, such as a mount or a cgroup.
///
/// A value of the type is the payload of a record in a sandbox's ledger. A room registers its kinds with
/// `Ledger.register`.
package protocol Undoable: Codable, Equatable, Sendable {
    /// The kind's name in a ledger's file. It must never change: later versions read the files of earlier ones.
    static var kind: String { get }

    /// Removes the thing from the host; a missing thing is no error. May run more than once, in any process.
    func undo()

    /// The same thing for a sandbox that gets another name.
    /// - Returns: nil when its path doesn't depend on the sandbox's name.
    func renamed(from old: String, to name: String) -> Self?

    /// Whether the thing is a process: its number has a meaning only in its own pid namespace.
    var isProcess: Bool { get }

    /// Whether the thing is still there after a restart of the host, as files may be.
    var survivesRestart: Bool { get }
}

extension Undoable {
    package func renamed(from old: String, to name: String) -> Self? { nil }
    package var isProcess: Bool { false }
    package var survivesRestart: Bool { false }
}

extension Ledger {
    private static let registry = Mutex<[String: any Undoable.Type]>(
        Dictionary(
            uniqueKeysWithValues: [
                Owner.self, SandboxProcess.self, Mount.self, Directory.self, Socket.self,
            ].map { (kind: any Undoable.Type) in (kind.kind, kind) }))

    /// Makes kinds known to this process. A record of an unknown kind is ignored, as one of a later version is.
    ///
    /// A process that reads ledgers calls it at its start.
    package static func register(_ kinds: [any Undoable.Type]) {
        registry.withLock { registry in for kind in kinds { registry[kind.kind] = kind } }
    }

    static func kind(named kind: String) -> (any Undoable.Type)? { registry.withLock { $0[kind] } }
}
