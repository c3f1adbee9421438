import Glibc
import LinuxKernel
import Synchronization

/// What a sandbox makes on the host, on disk before it is made: read backwards, by whatever process, it is taken away.
///
/// It is a file in the sandbox's directory. An entry is one write(2) at the file's end; nothing is synced, as what it tells of ends
/// with the host too.
package final class Ledger: Sendable {
    /// Of the sandbox: sockets, logs and this.
    package var directory: String { state.withLock { $0.directory } }
    private let state: Mutex<State>
    /// Two threads may end it: the second one returns when all is gone.
    private let ending = Mutex(())

    private struct State: ~Copyable {
        var directory: String
        var file: FileDescriptor
        var page: Page
        var size: Int
        var isClosed = false
    }

    /// An entry's number.
    package struct RecordID: Sendable, Equatable { fileprivate let value: Int }

    private init(_ directory: String, _ page: Page, size: Int) throws(SystemError) {
        let file = try FileDescriptor.open(Self.file(in: directory), O_WRONLY | O_APPEND)
        state = Mutex(State(directory: directory, file: file, page: page, size: size))
    }

    static func file(in directory: String) -> String { directory + "/ledger" }

    // MARK: Begin

    /// Makes the sandbox's directory, with a ledger that this process keeps. What a dead sandbox of the name left is taken away first.
    /// - Parameter save: as in `takeAway(_:save:)`, of the dead one.
    /// - Throws: when the name belongs to a sandbox that lives.
    package static func begin(in directory: String, save: (String) -> Void = { _ in }) throws -> Ledger {
        let name = directory.split(separator: "/").last.map(String.init) ?? ""
        let prepared = Files.parent(of: directory) + "/.new-\(name)-\(getpid())"
        try Files.makeDirectory(prepared)
        guard let boot = currentBoot else { throw LedgerError(unknownBoot) }
        var page = Page(boot: boot)
        if let own = ProcessIdentity.own { page.apply(Page.Line(number: 1, entry: .keeper(id: own))) }
        let bytes = page.bytes
        do {
            try Files.write(file(in: prepared), bytes)
            // In one step: there is no directory of a sandbox without its ledger.
            try rename(prepared, directory, save: save)
        } catch {
            Files.removeTree(prepared)
            throw error
        }
        return try Ledger(directory, page, size: bytes.count)
    }

    /// Goes on with the ledger that another process began and named this one a keeper of.
    package static func resume(in directory: String) throws -> Ledger {
        let path = file(in: directory)
        let bytes = try Files.read(path)
        guard let page = Page(bytes) else { throw LedgerError("\(path) is no ledger") }
        guard page.isKnown else { throw later(directory) }
        return try Ledger(directory, page, size: bytes.count)
    }

    /// In the place of what a dead sandbox of the name left.
    private static func rename(_ prepared: String, _ directory: String, save: (String) -> Void) throws {
        guard Glibc.rename(prepared, directory) != 0 else { return }
        let code = errno
        guard code == ENOTEMPTY || code == EEXIST else { throw SystemError("make directory", directory, errno: code) }
        try clear(directory, save: save)
        try check("make directory", directory) { Glibc.rename(prepared, directory) }
    }

    /// Gives the sandbox another name: of its directory, and of what lies in its shares.
    ///
    /// Until the end both names are told of, as whoever reads this meanwhile finds either.
    /// - Parameter save: as in `begin(in:save:)`.
    /// - Throws: as `begin(in:save:)`; the sandbox has its old name then, or is to be ended.
    package func move(to name: String, save: (String) -> Void = { _ in }) throws {
        let (lines, from) = state.withLock { ($0.page.lines, $0.directory) }
        let old = from.split(separator: "/").last.map(String.init) ?? ""
        var numbers: [RecordID] = []
        for line in lines {
            guard let renamed = line.entry?.renamed(from: old, to: name) else { continue }
            try add(renamed)
            numbers.append(RecordID(value: line.number))
        }
        let target = Files.parent(of: from) + "/" + name
        try Self.rename(from, target, save: save)
        state.withLock { $0.directory = target }
        let (share, moved) = (Self.shares + "/" + old, Self.shares + "/" + name)
        if Files.exists(share) { try check("rename", share) { Glibc.rename(share, moved) } }
        for number in numbers { forget(number) }
    }

    // MARK: Keep

    /// To be called before the thing is made.
    @discardableResult
    package func add(_ entry: Entry) throws(SystemError) -> RecordID {
        try write(entry, as: nil)
    }

    /// What has this number is another thing from now on, in the same place. Neither is there yet.
    package func replace(_ number: RecordID, by entry: Entry) throws(SystemError) { try write(entry, as: number) }

    @discardableResult
    private func write(_ entry: Entry, as number: RecordID?) throws(SystemError) -> RecordID {
        try state.withLock { (state) throws(SystemError) in
            let path = Self.file(in: state.directory)
            // Nobody would read it: the thing may not be made.
            if state.isClosed { throw SystemError("write", path, errno: ESTALE) }
            let line = Page.Line(number: number?.value ?? state.page.last + 1, entry: entry)
            let bytes = Page.encode(line)
            try state.file.writeAll(bytes, to: path)
            state.page.apply(line)
            state.size += bytes.count
            return RecordID(value: line.number)
        }
    }

    /// Takes one thing away.
    package func undo(_ number: RecordID) {
        guard let entry = state.withLock({ $0.page.lines.first { $0.number == number.value } })?.entry else { return }
        entry.undo()
        forget(number)
    }

    /// What has this number is gone already.
    package func forget(_ number: RecordID) {
        state.withLock { state in
            let line = Page.Line(number: number.value)
            let bytes = Page.encode(line)
            // On a full disk it stays written, and is undone once more in the end: that does no harm.
            try? state.file.writeAll(bytes, to: Self.file(in: state.directory))
            state.page.apply(line)
            state.size += bytes.count
            if state.size > Self.limit { rewrite(&state) }
        }
    }

    /// A ledger of a sandbox that lives for long, in bytes, before what is undone is left out of it.
    private static let limit = 64 << 10

    private func rewrite(_ state: inout State) {
        let path = Self.file(in: state.directory)
        let bytes = state.page.bytes
        guard bytes.count < Self.limit / 2, (try? Files.replace(path, bytes)) != nil,
            let file = try? FileDescriptor.open(path, O_WRONLY | O_APPEND)
        else { return }
        state.file = file
        state.size = bytes.count
    }

    // MARK: End

    /// Where the ledger stands: `undo(after:)` goes back to here.
    package var mark: RecordID { state.withLock { RecordID(value: $0.page.last) } }

    /// Takes away, backwards, all that was made after `mark`.
    package func undo(after mark: RecordID) {
        let lines = state.withLock { $0.page.lines }
        for line in lines.reversed() where line.number > mark.value { undo(RecordID(value: line.number)) }
    }

    /// Takes everything away, the ledger and its directory last. The processes that keep it go first, but for this one.
    package func end() {
        let directory = state.withLock { state in
            state.isClosed = true
            return state.directory
        }
        ending.withLock { _ in Self.takeAway(directory) }
    }

    /// Takes away what a sandbox without a living keeper has left.
    /// - Throws: when one lives, or when there is no ledger to go by.
    package static func clear(_ directory: String, save: (String) -> Void = { _ in }) throws(LedgerError) {
        let found: Page?
        do { found = try read(directory) } catch { throw LedgerError("\(error)") }
        guard let page = found else {
            throw LedgerError(
                "\(directory) is in use by something else: it has no ledger; remove it when nothing uses it")
        }
        guard page.isKnown else { throw later(directory) }
        switch page.keeper {
        case .elsewhere:
            throw LedgerError(
                "\(directory) is of processes of another pid or time namespace: whether they live can be told there alone"
            )
        case .process(let keeper):
            throw LedgerError("\(directory) is in use: process \(keeper.pid) keeps its sandbox; delete that first")
        case .ended: takeAway(directory, save: save)
        }
    }

    /// Half of what it tells would not be understood.
    private static func later(_ directory: String) -> LedgerError {
        LedgerError("\(directory) was made by a later version of this program: delete its containers with that")
    }

    /// Ends a sandbox from outside, alive or not. Nothing there is nothing to do; what a later version has made is left to that.
    /// - Parameter save: is given the directory under a name that nobody else knows, before it is removed. Of several that take a sandbox
    ///   away, one is called.
    package static func takeAway(_ directory: String, save: (String) -> Void = { _ in }) {
        guard let lines = linesToUndo(in: directory) else { return }
        for line in lines { if case .keeper = line.entry { line.entry?.undo() } }
        // Two managers' helpers may do this at a time. Who comes late would take from the next sandbox of the name, whose paths are the same.
        Claim.hold(file(in: directory)) {
            // Read again: nobody adds to it any more.
            guard let lines = linesToUndo(in: directory) else { return }
            for line in lines.reversed() { line.entry?.undo() }
            // Out of sight in one step: a new sandbox may have the name at once.
            let name = directory.split(separator: "/").last.map(String.init) ?? ""
            let gone = Files.parent(of: directory) + "/.old-\(name)-\(getpid())"
            if Glibc.rename(directory, gone) == 0 { save(gone) }
            Files.removeTree(gone)
        }
        // A manager kills its helpers at any moment: the next one finishes.
        let machines = Files.parent(of: directory)
        for name in Files.list(machines) where name.hasPrefix(".old-") && !ProcessIdentity.isAtWork(endOf: name) {
            Files.removeTree(machines + "/" + name)
        }
    }

    /// - Returns: nil for what is left to others: to a later version, to another namespace of processes, or, where it can't be read, to who can.
    private static func linesToUndo(in directory: String) -> [Page.Line]? {
        let found: Page?
        do { found = try read(directory) } catch { return nil }
        guard let page = found else { return [] }
        return page.isKnown && page.keeper != .elsewhere ? page.linesToUndo : nil
    }

    /// Whether the sandbox there serves on `socket`, or would have, had it come so far.
    package static func owns(socket: String, _ directory: String) -> Bool {
        guard let page = try? read(directory) else { return false }
        return page.socket.map { $0 == socket } ?? (page.keeper == .ended)
    }

    /// Of who keeps the sandbox there: one that was stopped by a signal answers nobody.
    package static func keeperLife(_ directory: String) -> ProcessIdentity.Life {
        do {
            switch try read(directory)?.keeper {
            case .elsewhere: return .running
            case .process(let keeper): return keeper.life
            case .ended, nil: return .ended
            }
        } catch { return .running }
    }

    /// - Returns: nil where there is none.
    /// - Throws: as `Files.find`.
    static func read(_ directory: String) throws(SystemError) -> Page? {
        try Files.find(file(in: directory)).flatMap { Page($0) }
    }
}

extension Ledger.Page {
    /// True where that can't be told: its processes are looked at then.
    var isOfThisBoot: Bool { Ledger.currentBoot.map { $0 == head.boot } ?? true }

    /// Numbers of processes are told only of those that they are numbers of here.
    var linesToUndo: [Line] {
        guard isOfThisBoot else { return lines.filter { $0.entry?.endsWithTheHost == false } }
        return head.processes?.isForeign == true ? lines.filter { $0.entry?.isProcess == false } : lines
    }

    /// On which its shim listens; nil while it has not come so far.
    var socket: String? {
        for line in lines { if case .socket(let path) = line.entry { return path } }
        return nil
    }

    enum Keeper: Equatable {
        /// It lives.
        case process(ProcessIdentity)
        /// Its number is one of another pid or time namespace, where it may live.
        case elsewhere
        case ended
    }

    var keeper: Keeper {
        guard isOfThisBoot else { return .ended }
        if let processes = head.processes, processes.isForeign {
            return processes.mayHold(listener: socket) ? .elsewhere : .ended
        }
        for line in lines {
            if case .keeper(let process) = line.entry, process.life != .ended { return .process(process) }
        }
        return .ended
    }
}

// MARK: What is ours

extension Ledger {
    /// Directories below which everything belongs to sandboxes; the names are Kata's.
    package static let machines = "/run/vc/vm"
    package static let shares = "/run/kata-containers/shared/sandboxes"

    /// Whether a path is of a sandbox: whatever stands in a ledger's file, nothing else is removed.
    static func isOurs(_ path: String) -> Bool {
        [machines, shares].contains { path.hasPrefix($0 + "/") && path.utf8.count > $0.utf8.count + 1 } && isPlain(path)
    }

    static func isPlain(_ path: String) -> Bool {
        !path.split(separator: "/").contains { $0 == ".." || $0 == "." }
    }

    /// nil where it can't be read, as there is no descriptor left for it.
    static let currentBoot: String? = {
        guard let text = try? Files.readText(bootFile), !text.isEmpty else { return nil }
        return String(text.prefix { !$0.isWhitespace })
    }()
    private static let bootFile = "/proc/sys/kernel/random/boot_id"
    private static let unknownBoot =
        "\(bootFile) can't be read: a sandbox is not known from one before the host's restart then; is `ulimit -n` high enough?"
}

/// Why a sandbox's directory can't be had or cleared.
package struct LedgerError: Error, CustomStringConvertible {
    package let description: String
    init(_ description: String) { self.description = description }
}
