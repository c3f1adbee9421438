import Glibc
import LinuxKernel
import Synchronization

/// A file with a record of each thing that a sandbox makes on the host. A record is written before its thing is made;
/// any process can clean the sandbox up by undoing the records backwards.
///
/// The file lies in the sandbox's directory. A record is one write(2) at its end. Nothing is synced: the things end
/// with the host too.
package final class Ledger: Sendable {
    /// The sandbox's directory, which holds its sockets, its logs and the ledger.
    package var directory: String { state.withLock { $0.directory } }
    private let state: Mutex<State>
    /// Makes a second thread that calls `end` wait for the first one.
    private let ending = Mutex(())

    private struct State: ~Copyable {
        var directory: String
        var file: FileDescriptor
        var journal: Journal
        var size: Int
        /// The size at which the file is rewritten.
        var limit = Ledger.maxSize
        var isClosed = false
    }

    /// The number of a record.
    package struct RecordID: Sendable, Equatable { fileprivate let value: Int }

    private init(_ directory: String, _ journal: Journal, size: Int) throws(SystemError) {
        let file = try FileDescriptor.open(Self.file(in: directory), O_WRONLY | O_APPEND)
        state = Mutex(State(directory: directory, file: file, journal: journal, size: size))
    }

    static func file(in directory: String) -> String { directory + "/ledger" }

    // MARK: Begin

    /// Makes a sandbox's directory, with a ledger that this process owns. First cleans up after a dead sandbox with
    /// the same name.
    /// - Parameter save: as in `cleanUp(_:save:)`, for the dead sandbox.
    /// - Throws: `LedgerError` when a living sandbox has the name; `SystemError` when the directory can't be made.
    package static func begin(in directory: String, save: (String) -> Void = { _ in }) throws -> Ledger {
        let prepared = Files.parent(of: directory) + "/.new-\(Files.name(of: directory))-\(getpid())"
        try Files.makeDirectory(prepared)
        guard let boot = currentBoot else { throw LedgerError(unknownBoot) }
        var journal = Journal(boot: boot)
        if let own = ProcessIdentity.own { journal.apply(.init(number: 1, entry: .owner(id: own))) }
        let bytes = journal.bytes
        do {
            try Files.write(file(in: prepared), bytes)
            // One step: a sandbox's directory is never there without its ledger.
            try rename(prepared, directory, save: save)
        } catch {
            Files.removeTree(prepared)
            throw error
        }
        return try Ledger(directory, journal, size: bytes.count)
    }

    /// Continues a ledger that another process began, with this process as one of its owners.
    /// - Throws: `SystemError` when the ledger can't be read, `LedgerError` for another file or a ledger of a later
    ///   version.
    package static func resume(in directory: String) throws -> Ledger {
        let path = file(in: directory)
        let bytes = try Files.read(path)
        guard let journal = Journal(bytes) else { throw LedgerError("\(path) is no ledger") }
        guard journal.isKnown else { throw madeLater(directory) }
        return try Ledger(directory, journal, size: bytes.count)
    }

    /// Renames a directory; replaces one that a dead sandbox may have left.
    private static func rename(_ prepared: String, _ directory: String, save: (String) -> Void) throws {
        // SAFETY: the calls only read their paths.
        guard unsafe Glibc.rename(prepared, directory) != 0 else { return }
        let code = errno
        guard code == ENOTEMPTY || code == EEXIST else { throw SystemError("make directory", directory, errno: code) }
        try cleanUpDead(directory, save: save)
        try check("make directory", directory) { unsafe Glibc.rename(prepared, directory) }
    }

    /// Renames the sandbox: its directory, and the paths in its shares.
    ///
    /// Until the end the ledger has both names, as another process may read it at any step.
    /// - Parameter save: as in `begin(in:save:)`.
    /// - Throws: as `begin(in:save:)`. The sandbox keeps its old name then, or must be ended.
    package func move(to name: String, save: (String) -> Void = { _ in }) throws {
        let (records, from) = state.withLock { ($0.journal.records, $0.directory) }
        let old = Files.name(of: from)
        var outdated: [RecordID] = []
        for record in records {
            guard let renamed = record.entry?.renamed(from: old, to: name) else { continue }
            try add(renamed)
            outdated.append(RecordID(value: record.number))
        }
        let target = Files.parent(of: from) + "/" + name
        try Self.rename(from, target, save: save)
        state.withLock { $0.directory = target }
        let (share, moved) = (Self.shares + "/" + old, Self.shares + "/" + name)
        // SAFETY: the call only reads the two paths.
        if Files.exists(share) { try check("rename", share) { unsafe Glibc.rename(share, moved) } }
        for id in outdated { forget(id) }
    }

    // MARK: Records

    /// Writes a record. To be called before the thing is made.
    /// - Throws: `SystemError` when the record can't be written; ESTALE after `end`. The thing must not be made then.
    @discardableResult
    package func add(_ entry: Entry) throws(SystemError) -> RecordID { try write(entry, as: nil) }

    /// Replaces the thing of a record by another, in the same place. Neither is made yet.
    /// - Throws: as `add(_:)`.
    package func replace(_ id: RecordID, by entry: Entry) throws(SystemError) { try write(entry, as: id) }

    @discardableResult
    private func write(_ entry: Entry, as id: RecordID?) throws(SystemError) -> RecordID {
        try state.withLock { (state) throws(SystemError) in
            let path = Self.file(in: state.directory)
            // Nothing reads the record any more.
            if state.isClosed { throw SystemError("write", path, errno: ESTALE) }
            let record = Journal.Record(number: id?.value ?? state.journal.last + 1, entry: entry)
            let bytes = Journal.encode(record)
            try state.file.writeAll(bytes, to: path)
            state.journal.apply(record)
            state.size += bytes.count
            return RecordID(value: record.number)
        }
    }

    /// Removes the thing of one record.
    package func undo(_ id: RecordID) {
        guard let entry = state.withLock({ $0.journal.records.first { $0.number == id.value } })?.entry else { return }
        entry.thing.undo()
        forget(id)
    }

    /// Marks a record as undone: its thing is gone already.
    package func forget(_ id: RecordID) {
        state.withLock { state in
            let record = Journal.Record(number: id.value)
            let bytes = Journal.encode(record)
            // On a full disk the record stays and is undone a second time at the end, which is harmless.
            try? state.file.writeAll(bytes, to: Self.file(in: state.directory))
            state.journal.apply(record)
            state.size += bytes.count
            if state.size > state.limit { rewrite(&state) }
        }
    }

    /// The size in bytes at which a file is rewritten without its undone records, unless those that remain are as long.
    private static let maxSize = 64 << 10

    private func rewrite(_ state: inout State) {
        let path = Self.file(in: state.directory)
        let bytes = state.journal.bytes
        // Each attempt takes as long as the file: the next one comes when the file has doubled.
        state.limit = max(Self.maxSize, 2 * bytes.count)
        guard bytes.count < state.size / 2, (try? Files.replace(path, bytes)) != nil,
            let file = try? FileDescriptor.open(path, O_WRONLY | O_APPEND)
        else { return }
        state.file = file
        state.size = bytes.count
    }

    // MARK: End

    /// The last record so far, for `undo(after:)`.
    package var mark: RecordID { state.withLock { RecordID(value: $0.journal.last) } }

    /// Undoes, backwards, all records after `mark`.
    /// - Parameter last: the last of them; nil: the ledger's last.
    package func undo(after mark: RecordID, upTo last: RecordID? = nil) {
        let records = state.withLock { $0.journal.records }
        let end = last?.value ?? .max
        for record in records.reversed() where record.number > mark.value && record.number <= end {
            undo(RecordID(value: record.number))
        }
    }

    /// Kills the other owners, undoes everything, and removes the ledger and its directory.
    package func end() {
        let directory = state.withLock { state in
            state.isClosed = true
            return state.directory
        }
        ending.withLock { _ in Self.cleanUp(directory) }
    }
}

extension Ledger.Entry {
    /// The entry for a sandbox with another name; nil when it stays the same.
    func renamed(from old: String, to name: String) -> Ledger.Entry? { Self.renamed(thing, from: old, to: name) }

    private static func renamed<Thing: Undoable>(_ thing: Thing, from old: String, to name: String) -> Ledger.Entry? {
        thing.renamed(from: old, to: name).map { Ledger.Entry($0) }
    }
}
