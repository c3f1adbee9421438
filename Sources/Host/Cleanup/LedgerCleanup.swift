import Glibc
import LinuxKernel

/// Cleanup of sandboxes by their ledgers on disk, from any process.
extension Ledger {
    /// Cleans up what a sandbox without a living owner has left.
    /// - Parameter save: as in `cleanUp(_:save:)`.
    /// - Throws: `LedgerError` when an owner lives, or is of another pid or time namespace. Also without a ledger that
    ///   can be read, and for one of a later version.
    package static func cleanUpDead(_ directory: String, save: (String) -> Void = { _ in }) throws(LedgerError) {
        let found: Journal?
        do { found = try read(directory) } catch { throw LedgerError("\(error)") }
        guard let journal = found else {
            throw LedgerError(
                "\(directory) is in use by something else: it has no ledger; remove it when nothing uses it")
        }
        guard journal.isKnown else { throw madeLater(directory) }
        switch journal.owner {
        case .elsewhere:
            throw LedgerError(
                "\(directory) is of processes of another pid or time namespace: whether they live can be told there alone"
            )
        case .process(let owner):
            throw LedgerError("\(directory) is in use: process \(owner.pid) keeps its sandbox; delete that first")
        case .ended: cleanUp(directory, save: save)
        }
    }

    /// Refuses a ledger of a later version, which may hold records that this one doesn't understand.
    static func madeLater(_ directory: String) -> LedgerError {
        LedgerError("\(directory) was made by a later version of this program: delete its containers with that")
    }

    /// Ends a sandbox from outside, alive or not: kills its owners, then undoes its records backwards. A missing
    /// directory is no error; one of a later version is left alone.
    /// - Parameter save: called with the directory under a name that no other process uses, before it is removed. When
    ///   several processes clean up the same sandbox, only one calls it.
    package static func cleanUp(_ directory: String, save: (String) -> Void = { _ in }) {
        guard let records = recordsToUndo(in: directory) else { return }
        for record in records { (record.entry?.thing as? Owner)?.undo() }
        // Two helpers of a manager may be here at once. The later one would undo the next sandbox of the name, whose
        // paths are the same.
        CleanupLock.hold(file(in: directory)) {
            // Reads again: the owners, which add records, are dead now.
            guard let records = recordsToUndo(in: directory) else { return }
            for record in records.reversed() { record.entry?.thing.undo() }
            // Frees the name in one step: a new sandbox may take it at once.
            let gone = Files.parent(of: directory) + "/.old-\(Files.name(of: directory))-\(getpid())"
            // SAFETY: the call only reads the two paths.
            if unsafe Glibc.rename(directory, gone) == 0 { save(gone) }
            Files.removeTree(gone)
        }
        removeAbandoned(in: Files.parent(of: directory))
    }

    /// Removes directories whose cleanup a manager has interrupted by a kill.
    private static func removeAbandoned(in machines: String) {
        for name in Files.list(machines) where name.hasPrefix(".old-") && !ProcessIdentity.isOwnerAlive(ofName: name) {
            Files.removeTree(machines + "/" + name)
        }
    }

    /// - Returns: nil when this process must not undo them: they are of a later version or another pid namespace, or
    ///   can't be read.
    private static func recordsToUndo(in directory: String) -> [Journal.Record]? {
        let found: Journal?
        do { found = try read(directory) } catch { return nil }
        guard let journal = found else { return [] }
        return journal.isKnown && journal.owner != .elsewhere ? journal.recordsToUndo : nil
    }

    /// Whether the sandbox in `directory` serves on `socket`, or died before it had a socket.
    package static func owns(socket: String, _ directory: String) -> Bool {
        guard let journal = try? read(directory) else { return false }
        return journal.socket.map { $0 == socket } ?? (journal.owner == .ended)
    }

    /// The state of a sandbox's owner. An owner that is stopped by a signal doesn't answer.
    package static func ownerLife(_ directory: String) -> ProcessIdentity.Life {
        do {
            switch try read(directory)?.owner {
            case .elsewhere: return .running
            case .process(let owner): return owner.life
            case .ended, nil: return .ended
            }
        } catch { return .running }
    }

    /// - Returns: nil when there is no ledger.
    /// - Throws: as `Files.find`.
    static func read(_ directory: String) throws(SystemError) -> Journal? {
        try Files.find(file(in: directory)).flatMap { Journal($0) }
    }

    /// Cleans up, once after each start of the host, the sandboxes of before it: none of them can live.
    /// - Parameter save: as in `cleanUp(_:save:)`.
    package static func cleanUpAfterRestart(save: (String) -> Void) {
        let stamp = "/run/vc/boot"
        guard getuid() == 0, let currentBoot, (try? Files.readText(stamp)) != currentBoot else { return }
        for name in Files.list(machines) {
            guard let journal = try? read(machines + "/" + name), !journal.isOfThisBoot else { continue }
            try? cleanUpDead(machines + "/" + name, save: save)
        }
        guard (try? Files.makeDirectory("/run/vc")) != nil else { return }
        try? Files.replace(stamp, currentBoot)
    }
}
