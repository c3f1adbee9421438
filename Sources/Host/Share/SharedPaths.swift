import Cleanup
import Glibc
import GuestSpec
import LinuxKernel

/// The paths of the host that a sandbox's guest sees, and the containers that use each.
///
/// Two mounts of one file are two files to the guest: locks and mappings through one have no effect on the other. So
/// a path that several containers use is shared once.
package struct SharedPaths: Sendable {
    /// One path of the host in the guest, for one or several containers.
    private struct Entry: Sendable {
        let mounted: String
        let record: Ledger.RecordID
        /// Whether the guest sees a copy (`VolumeCopy`).
        let isCopy: Bool
        var users: Int
    }

    /// The shared paths of one container.
    package struct Use: Sendable {
        /// Paths that other containers may use too.
        fileprivate var common: [SourceCopy.Identity] = []
        /// Records of things that only this container uses, in the order of their creation.
        fileprivate var own: [Ledger.RecordID] = []
        package init() {}
        /// - Parameter own: records of things that the caller has made for the container already.
        package init(own: [Ledger.RecordID]) { self.own = own }
    }

    private let paths: SandboxPaths
    private let ledger: Ledger
    private let mounts: any ShareMounts
    private var entries: [SourceCopy.Identity: Entry] = [:]
    /// nil before the first volume that is copied.
    private var copies: VolumeCopies?
    private let report: @Sendable (VolumeFault) -> Void

    /// - Parameter report: gets volumes that can't be copied, from any thread.
    package init(
        _ paths: SandboxPaths, _ ledger: Ledger, _ mounts: any ShareMounts,
        report: @escaping @Sendable (VolumeFault) -> Void
    ) {
        (self.paths, self.ledger, self.mounts, self.report) = (paths, ledger, mounts, report)
    }

    /// Device numbers of the file systems that containers share.
    package var devices: Set<UInt64> { Set(entries.keys.map(\.device)) }

    /// Makes the directory that the guest sees, and beside it the one in which the host mounts.
    /// - Throws: `SystemError` when the ledger can't be written, or a directory or mount can't be made.
    package func export() throws {
        try ledger.add(.directory(path: paths.shareParent))
        try Files.makeDirectory(paths.shareParent)
        // The parent directory is closed; below it every user may pass, as users of a container are not root.
        for directory in [paths.mounts, paths.exported] { try Files.makeDirectory(directory, mode: 0o755) }
        try ledger.add(.mount(path: paths.exported, namespace: Mounts.namespace))
        try mounts.export(paths.mounts, at: paths.exported)
    }

    /// Shares a directory of the host for the sandbox's life, read-only.
    /// - Parameter name: in the share's root.
    /// - Throws: `SystemError` when the directory can't be opened, the ledger written or the mount made.
    package func share(_ directory: String, as name: String) throws {
        let share = GuestSpec.HostPathShare(
            source: directory, mounted: paths.mounts + "/" + name, readOnly: true, recursive: false)
        _ = try attach(mounts.copy(share, in: nil), at: share.mounted)
    }

    /// Shares a container's root file system.
    /// - Throws: `SystemError` when the path can't be opened, the ledger written or the mount made. What was made
    ///   before is in `use` then.
    package mutating func shareRoot(_ path: String, of container: String, in view: ManagerView?, for use: inout Use)
        throws
    {
        use.own.append(try ledger.add(.directory(path: paths.mounts + "/" + container)))
        let share = GuestSpec.HostPathShare(
            source: path, mounted: paths.sharedRootfs(of: container), readOnly: false, recursive: true)
        use.own.append(try attach(mounts.copy(share, in: view), at: share.mounted))
    }

    /// Shares the host paths in a container's specification.
    /// - Returns: the specification with the real mount points of the shares.
    /// - Throws: `SystemError` when a path can't be opened, the ledger written or a mount made. `ShareError` for an
    ///   overlay that the kernel refuses. What was made before is in `use` then.
    package mutating func share(_ guest: GuestSpec, in view: ManagerView?, for use: inout Use) throws -> GuestSpec {
        var places: [String: String] = [:]
        for share in guest.shares {
            if let layers = share.layers {
                try mountLayers(layers, at: share.mounted, for: &use)
            } else {
                places[share.mounted] = try self.share(share, in: view, for: &use)
            }
        }
        return guest.moved(places, paths: paths)
    }

    private mutating func share(_ share: GuestSpec.HostPathShare, in view: ManagerView?, for use: inout Use) throws
        -> String
    {
        let copy = try mounts.copy(share, in: view)
        let (identity, isSeenHere) = (copy.identity, copy.isSeenHere)
        if let known = entries[identity], !share.recursive || !Self.hasMounts(below: share.source, view) {
            entries[identity]?.users += 1
            use.common.append(identity)
            return known.mounted
        }
        // A container's name may be reused while others still use a share of the first container with that name.
        var target = share.mounted
        while entries.values.contains(where: { $0.mounted == target }) { target += "+" }
        let copied = isSeenHere ? try copyVolume(share, at: target) : nil
        let record = try copied ?? attach(copy, at: target)
        if entries[identity] == nil {
            entries[identity] = Entry(mounted: target, record: record, isCopy: copied != nil, users: 1)
            use.common.append(identity)
        } else {
            use.own.append(record)
        }
        return target
    }

    private static func hasMounts(below path: String, _ view: ManagerView?) -> Bool {
        view?.hasMounts(below: path) ?? Mounts.hasMounts(below: path)
    }

    /// Copies a volume that is updated in one step.
    /// - Returns: nil for any other directory, and where it can't be copied: it is shared as it is then.
    private mutating func copyVolume(_ share: GuestSpec.HostPathShare, at target: String) throws -> Ledger.RecordID? {
        let source = share.source
        guard VolumeCopy.isNeeded(for: source) else { return nil }
        let record = try ledger.add(.directory(path: target))
        do throws(SystemError) {
            let copies = if let copies { copies } else { try VolumeCopies(report: report) }
            self.copies = copies
            try copies.add(source, at: target, owners: share.owners)
            return record
        } catch {
            ledger.undo(record)
            report(VolumeFault(volume: source, effect: .isShared, error: error))
            return nil
        }
    }

    /// Follows updates of volumes no more.
    package func stop() { copies?.stop() }

    private func attach(_ copy: borrowing SourceCopy, at target: String) throws -> Ledger.RecordID {
        let isDirectory = try copy.tree.facts(target).st_mode & S_IFMT == S_IFDIR
        let record = try ledger.add(.mount(path: target, namespace: Mounts.namespace))
        do {
            if isDirectory { try Files.makeDirectory(target, mode: 0o755) } else { try Files.write(target, "") }
            try mounts.attach(copy, at: target)
        } catch {
            ledger.undo(record)
            throw error
        }
        return record
    }

    /// Mounts an overlay on the host, as its directories are on the host.
    private func mountLayers(_ layers: [String], at target: String, for use: inout Use) throws {
        try Files.makeDirectory(target, mode: 0o755)
        use.own.append(try ledger.add(.mount(path: target, namespace: Mounts.namespace)))
        try mounts.overlay(MountOptions(layers), at: target)
    }

    /// Removes a container's shares from the host, except those that others use too.
    package mutating func release(_ use: inout Use) {
        for record in use.own.reversed() { ledger.undo(record) }
        for identity in use.common.reversed() {
            guard let entry = entries[identity] else { continue }
            entries[identity]?.users -= 1
            guard entry.users == 1 else { continue }
            entries[identity] = nil
            if entry.isCopy { copies?.remove(entry.mounted) }
            ledger.undo(entry.record)
        }
        use = Use()
    }
}
