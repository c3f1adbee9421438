import Glibc
import LinuxKernel

/// Something of a sandbox that no longer lives.
package struct Leak: Sendable, CustomStringConvertible {
    /// What it is, and why it belongs to nobody.
    package let description: String
    private let path: String
    private let hasLedger: Bool

    fileprivate init(_ path: String, _ reason: String, hasLedger: Bool = false) {
        (self.path, self.hasLedger) = (path, hasLedger)
        description = "\(path): \(reason)"
    }

    /// - Returns: whether it is gone now.
    package func remove() -> Bool {
        if hasLedger { try? Ledger.clear(path) } else { Files.removeTree(path) }
        return !Files.exists(path)
    }
}

extension Ledger {
    /// What belongs to no living sandbox below the directories of sandboxes. What another runtime may be using is not among it.
    /// - Throws: where that can't be told, as there is no descriptor left.
    package static func leaks() throws(SystemError) -> [Leak] {
        var commands: [String] = []
        for process in ProcessNamespace.processes {
            if let bytes = try Files.find("/proc/\(process)/cmdline") {
                commands.append(String(decoding: bytes, as: UTF8.self))
            }
        }
        // This process's own is among them.
        if commands.isEmpty { throw SystemError("look at processes in", "/proc", errno: EMFILE) }
        func isNamed(_ path: String) -> Bool { commands.contains { $0.mentions(path + "/") } }
        var leaks: [Leak] = []
        for name in Files.list(machines) {
            let path = machines + "/" + name
            if name.hasPrefix(".new-") || name.hasPrefix(".old-") {
                if !ProcessIdentity.isAtWork(endOf: name) { leaks.append(Leak(path, "its maker ended half-way")) }
            } else if let page = try read(path) {
                if page.keeper == .ended { leaks.append(Leak(path, page.remains, hasLedger: true)) }
            } else if name.mentions(".new-") {
                // A template that is being made (kata-runtime factory init) is complete under another name.
                if !ProcessIdentity.isAtWork(endOf: name) { leaks.append(Leak(path, "its maker ended half-way")) }
            } else if !isNamed(path), !Files.exists(path + "/template.json") {
                // A saved machine (kata-runtime factory) belongs to all sandboxes.
                leaks.append(Leak(path, "it has no ledger, and no process uses it"))
            }
        }
        for name in Files.list(shares) where !Files.exists(machines + "/" + name) {
            let path = shares + "/" + name
            if !isNamed(path) { leaks.append(Leak(path, "it has no sandbox, and no process uses it")) }
        }
        return leaks
    }

    /// Once after each start of the host: what sandboxes had left before it is removed. Nothing of it can live.
    /// - Parameter save: as in `takeAway(_:save:)`.
    package static func clearAfterRestart(save: (String) -> Void) {
        let stamp = "/run/vc/boot"
        guard getuid() == 0, let currentBoot, (try? Files.readText(stamp)) != currentBoot else { return }
        for name in Files.list(machines) {
            guard let page = try? read(machines + "/" + name), !page.isOfThisBoot else { continue }
            try? clear(machines + "/" + name, save: save)
        }
        guard (try? Files.makeDirectory("/run/vc")) != nil else { return }
        try? Files.replace(stamp, currentBoot)
    }
}

extension Ledger.Page {
    /// What is left of a sandbox whose keepers have ended.
    fileprivate var remains: String {
        guard isKnown else { return "a sandbox of a later version" }
        guard isOfThisBoot else { return "a sandbox from before the host's restart" }
        let processes = lines.compactMap { line -> String? in
            guard case .process(let process, let name) = line.entry, process.life != .ended else { return nil }
            return "\(name) (process \(process.pid))"
        }
        let running = processes.isEmpty ? "" : "; still there: " + processes.joined(separator: ", ")
        return "a sandbox whose shim has ended\(running)"
    }
}
