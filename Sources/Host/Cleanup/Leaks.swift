import Glibc
import LinuxKernel

/// Something that a dead sandbox has left on the host.
package struct Leak: Sendable, CustomStringConvertible {
    /// The path, and the reason why nothing uses it.
    package let description: String
    private let path: String
    private let removal: @Sendable () -> Void

    /// - Parameters:
    ///   - path: it is gone when this path is.
    ///   - remove: removes it.
    package init(_ path: String, _ reason: String, remove: @escaping @Sendable () -> Void) {
        (self.path, removal) = (path, remove)
        description = "\(path): \(reason)"
    }

    fileprivate init(_ path: String, _ reason: String) {
        self.init(path, reason) { Files.removeTree(path) }
    }

    /// Removes it.
    /// - Returns: whether it is gone now.
    package func remove() -> Bool {
        removal()
        return !Files.exists(path)
    }
}

extension Ledger {
    /// Finds things in the directories of sandboxes that belong to no living sandbox. Leaves out everything that
    /// another runtime may use.
    /// - Throws: `SystemError` when processes can't be listed, for example for lack of a descriptor (EMFILE), or a
    ///   ledger or directory can't be read.
    package static func leaks() throws(SystemError) -> [Leak] {
        var commands: [String] = []
        for process in ProcessNamespace.processes {
            if let bytes = try Files.find("/proc/\(process)/cmdline") {
                commands.append(String(decoding: bytes, as: UTF8.self))
            }
        }
        // The list has at least this process.
        if commands.isEmpty { throw SystemError("look at processes in", "/proc", errno: EMFILE) }
        func isNamed(_ path: String) -> Bool { commands.contains { $0.mentions(path + "/") } }
        var leaks: [Leak] = []
        for name in try Files.names(ifPresent: machines) {
            let path = machines + "/" + name
            if name.hasPrefix(".new-") || name.hasPrefix(".old-") {
                if !ProcessIdentity.isOwnerAlive(ofName: name) {
                    leaks.append(Leak(path, "its maker ended half-way"))
                }
            } else if let journal = try read(path) {
                if journal.owner == .ended {
                    leaks.append(Leak(path, journal.remains) { try? Ledger.cleanUpDead(path) })
                }
            } else if name.mentions(".new-") {
                // A VM template that kata-runtime factory init makes: the complete one has another name.
                if !ProcessIdentity.isOwnerAlive(ofName: name) {
                    leaks.append(Leak(path, "its maker ended half-way"))
                }
            } else if !isNamed(path), !Files.exists(path + "/template.json") {
                // A complete VM template belongs to all sandboxes.
                leaks.append(Leak(path, "it has no ledger, and no process uses it"))
            }
        }
        for name in try Files.names(ifPresent: shares) where !Files.exists(machines + "/" + name) {
            let path = shares + "/" + name
            if !isNamed(path) { leaks.append(Leak(path, "it has no sandbox, and no process uses it")) }
        }
        return leaks
    }
}

extension Ledger {
    /// The things of one kind that the ledgers of all sandboxes name.
    /// - Throws: `SystemError` of a ledger that can't be read.
    package static func recorded<Thing: Undoable>(_ kind: Thing.Type) throws(SystemError) -> [Thing] {
        var things: [Thing] = []
        for name in try Files.names(ifPresent: machines) {
            things += try read(machines + "/" + name)?.things(kind) ?? []
        }
        return things
    }
}

extension Journal {
    /// Describes the remains of a sandbox whose owners have ended.
    fileprivate var remains: String {
        guard isKnown else { return "a sandbox of a later version" }
        guard isOfThisBoot else { return "a sandbox from before the host's restart" }
        let processes = things(Ledger.SandboxProcess.self).filter { $0.id.life != .ended }
            .map { "\($0.name) (process \($0.id.pid))" }
        let running = processes.isEmpty ? "" : "; still there: " + processes.joined(separator: ", ")
        return "a sandbox whose shim has ended\(running)"
    }
}
