import Cleanup
import LinuxKernel

/// Decides which share of a sandbox serves a mount.
///
/// virtiofsd tells files apart by mount and inode. Through two mounts of one directory the guest would see two files:
/// a socket of the one refuses the other's clients, and locks and mappings have no effect. So one share serves all
/// mounts of its directory, and of what is below.
struct ShareTable: Sendable {
    /// A file of the host, whatever its name.
    struct File: Hashable, Sendable {
        let device: UInt64
        let inode: UInt64
    }

    /// A mount that a container asks for.
    struct Wanted: Sendable {
        let file: File
        /// nil when it is unknown.
        var place: FilePlace?
        /// Whether the container may write. A source whose own mount is read-only is not written to, whatever is asked.
        var isWritable = false
        var kind = Kind()
    }

    /// Shares that differ in it can't serve each other's mounts.
    struct Kind: Hashable, Sendable {
        var owners: OwnerMap?
        /// Whether programs may be executed, and links followed, as the source's own mount says.
        var flags: UInt = 0
    }

    /// The number of a share. It is never used again.
    typealias Number = Int

    struct Entry: Sendable {
        let wanted: Wanted
        /// Its mount point on the host.
        let mounted: String
        let record: Ledger.RecordID
        /// Whether the guest sees a copy (`VolumeCopy`), which serves its whole source only.
        var isCopy = false
        /// Whether other file systems are mounted in it: it serves no other mount.
        var hasMountsBelow = false
        /// Whether the host lets the guest write.
        fileprivate(set) var isWritable = false
        fileprivate var readers = 0
        fileprivate var writers = 0

        init(
            wanted: Wanted, mounted: String, record: Ledger.RecordID, isCopy: Bool = false,
            hasMountsBelow: Bool = false
        ) {
            (self.wanted, self.mounted, self.record) = (wanted, mounted, record)
            (self.isCopy, self.hasMountsBelow) = (isCopy, hasMountsBelow)
        }

        fileprivate func serves(_ other: Wanted) -> Bool {
            if isCopy { return wanted.kind.owners == other.kind.owners }
            return !hasMountsBelow && wanted.kind == other.kind
        }
    }

    /// One container's mount, and its share.
    struct Use: Sendable, Equatable {
        let number: Number
        let isWritable: Bool
    }

    /// A share that can serve a mount.
    struct Service: Equatable {
        let number: Number
        /// The path below the share's directory; empty for the share itself.
        let rest: String
        /// Whether the host's mount must become writable for it.
        let opens: Bool
    }

    private(set) var entries: [Number: Entry] = [:]
    private var byFile: [File: [Number]] = [:]
    private var byPlace: [FilePlace: [Number]] = [:]
    private var last = 0

    /// Numbers a new share.
    mutating func next() -> Number {
        last += 1
        return last
    }

    /// Finds shares for a mount, the nearest directory first. No share becomes writable for a part of it: then the
    /// guest could write to the rest too.
    func services(for wanted: Wanted) -> [Service] {
        let same = (byFile[wanted.file] ?? []).compactMap { number -> Service? in
            guard let entry = entries[number], entry.serves(wanted) else { return nil }
            let opens = wanted.isWritable && !entry.isWritable && !entry.isCopy
            return Service(number: number, rest: "", opens: opens)
        }
        let parents = (wanted.place?.parents ?? []).flatMap { parent in
            (byPlace[parent.place] ?? []).compactMap { number -> Service? in
                guard let entry = entries[number], !entry.isCopy, entry.serves(wanted),
                    entry.isWritable || !wanted.isWritable
                else { return nil }
                return Service(number: number, rest: parent.rest, opens: false)
            }
        }
        return same + parents
    }

    /// Adds a share with its first use.
    mutating func add(_ number: Number, _ entry: Entry) -> Use {
        entries[number] = entry
        entries[number]?.isWritable = entry.wanted.isWritable
        byFile[entry.wanted.file, default: []].append(number)
        if let place = entry.wanted.place { byPlace[place, default: []].append(number) }
        return use(number, isWritable: entry.wanted.isWritable)
    }

    /// Adds a use. A writer's share must be writable on the host by now.
    mutating func use(_ number: Number, isWritable: Bool) -> Use {
        if isWritable {
            entries[number]?.writers += 1
            entries[number]?.isWritable = true
        } else {
            entries[number]?.readers += 1
        }
        return Use(number: number, isWritable: isWritable)
    }

    /// Removes a use.
    /// - Returns: the share, if this was its last use: it is gone here, and the caller removes it from the host.
    mutating func release(_ use: Use) -> Entry? {
        guard var entry = entries[use.number] else { return nil }
        if use.isWritable { entry.writers -= 1 } else { entry.readers -= 1 }
        guard entry.writers + entry.readers == 0 else {
            entries[use.number] = entry
            return nil
        }
        remove(use.number, entry.wanted)
        return entry
    }

    /// Notes that the host's mount is read-only by now.
    mutating func close(_ number: Number) { entries[number]?.isWritable = false }

    /// Shares that the host lets the guest write to, although no container may any more: the caller closes them.
    var unclosed: [(number: Number, entry: Entry)] {
        entries.filter { $0.value.isWritable && $0.value.writers == 0 }.sorted { $0.key < $1.key }
            .map { (number: $0.key, entry: $0.value) }
    }

    private mutating func remove(_ number: Number, _ wanted: Wanted) {
        entries[number] = nil
        byFile[wanted.file]?.removeAll { $0 == number }
        if byFile[wanted.file] == [] { byFile[wanted.file] = nil }
        guard let place = wanted.place else { return }
        byPlace[place]?.removeAll { $0 == number }
        if byPlace[place] == [] { byPlace[place] = nil }
    }
}
