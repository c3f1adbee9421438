import AgentAPI
import Cleanup
import Glibc
import GuestSpec
import LinuxKernel

/// The paths of the host that a sandbox's guest sees, and the containers that use each. Which of them serves a mount is
/// decided by `ShareTable`.
package struct SharedPaths: Sendable {
    /// The shared paths of one container.
    package struct Use: Sendable {
        /// Shares that other containers may use too.
        fileprivate var common: [ShareTable.Use] = []
        /// Records of things that only this container uses, in the order of their creation.
        fileprivate var own: [Ledger.RecordID] = []
        package init() {}
        /// - Parameter own: records of things that the caller has made for the container already.
        package init(own: [Ledger.RecordID]) { self.own = own }
    }

    private let paths: SandboxPaths
    private let ledger: Ledger
    private let mounts: any ShareMounts
    private var table = ShareTable()
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
    package var devices: Set<UInt64> { Set(table.entries.values.map(\.wanted.file.device)) }

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
    /// - Parameter servers: processes of the server that serves them.
    /// - Returns: the specification with the real mount points of the shares.
    /// - Throws: `SystemError` when a path can't be opened, the ledger written or a mount made. `ShareError` for an
    ///   overlay that the kernel refuses. What was made before is in `use` then.
    package mutating func share(
        _ guest: GuestSpec, in view: ManagerView?, servers: [Int32], for use: inout Use
    ) throws -> GuestSpec {
        let sources = ShareSources(view)
        var places: [String: GuestSpec.SharedPlace] = [:]
        for (share, place) in sources.inOrder(guest.shares) {
            if let layers = share.layers {
                places[share.mounted] = .init(mounted: try mountLayers(layers, for: &use))
            } else {
                places[share.mounted] = try self.share(share, place, sources, servers, for: &use)
            }
        }
        return guest.moved(places, paths: paths)
    }

    private mutating func share(
        _ share: GuestSpec.HostPathShare, _ place: ShareSources.Place?, _ sources: ShareSources, _ servers: [Int32],
        for use: inout Use
    ) throws -> GuestSpec.SharedPlace {
        let copy = try mounts.copy(share, in: sources.view)
        let identity = copy.identity
        let hasMountsBelow = share.recursive && sources.hasMounts(below: share.source, place)
        let wanted = try ShareTable.Wanted(copy, share, place?.identity == identity ? place?.place : nil)
        // Something in the guest's mount may not be written to, though the specification does not say so.
        let isReadOnly = !wanted.isWritable && !share.readOnly && !hasMountsBelow
        if !hasMountsBelow, let mounted = reuse(wanted, identity, sources, servers, for: &use) {
            return .init(mounted: mounted, isReadOnly: isReadOnly)
        }
        let number = table.next()
        let target = mountPoint(number)
        let copied = copy.isSeenHere ? try copyVolume(share, at: target) : nil
        let entry = ShareTable.Entry(
            wanted: wanted, mounted: target, record: try copied ?? attach(copy, at: target), isCopy: copied != nil,
            hasMountsBelow: hasMountsBelow)
        use.common.append(table.add(number, entry))
        return .init(mounted: target, isReadOnly: isReadOnly)
    }

    /// Finds a share that the guest has already, and lets the guest write to it where that is asked for.
    /// - Returns: the mount's path on the host; nil when it needs a share of its own.
    private mutating func reuse(
        _ wanted: ShareTable.Wanted, _ identity: SourceCopy.Identity, _ sources: ShareSources, _ servers: [Int32],
        for use: inout Use
    ) -> String? {
        for service in table.services(for: wanted) {
            guard let entry = table.entries[service.number] else { continue }
            let path = service.rest.isEmpty ? entry.mounted : entry.mounted + "/" + service.rest
            guard GuestPaths.path(of: path, below: paths.mounts).utf8.count < Self.maxPath,
                entry.isCopy || !Mounts.hasMounts(below: path, table: sources.ownTable()),
                service.rest.isEmpty || mounts.contains(entry.mounted, service.rest, identity)
            else { continue }
            // Where the host does not allow it, a share of its own can be written to.
            if service.opens, !setWritable(true, entry, servers) { continue }
            use.common.append(table.use(service.number, isWritable: wanted.isWritable && !entry.isCopy))
            return path
        }
        return nil
    }

    /// PATH_MAX (limits.h).
    private static let maxPath = 4096

    private func setWritable(_ isWritable: Bool, _ entry: ShareTable.Entry, _ servers: [Int32]) -> Bool {
        let name = String(entry.mounted.dropFirst(paths.mounts.utf8.count + 1))
        do throws(SystemError) {
            try mounts.setWritable(
                isWritable, [entry.mounted, paths.exported + "/" + name], name: name, servers: servers)
            return true
        } catch { return false }
    }

    /// Numbered: no name of a container or a user can be too long or mean another path. No container's name begins with
    /// a dot.
    private func mountPoint(_ number: ShareTable.Number) -> String { "\(paths.mounts)/.v\(number)" }

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
    private mutating func mountLayers(_ layers: [String], for use: inout Use) throws -> String {
        let target = mountPoint(table.next())
        try Files.makeDirectory(target, mode: 0o755)
        use.own.append(try ledger.add(.mount(path: target, namespace: Mounts.namespace)))
        try mounts.overlay(MountOptions(layers), at: target)
        return target
    }

    /// Removes a container's shares from the host, except those that others use too. Those become read-only with their
    /// last writer, unless one of their files is still open for writing.
    package mutating func release(_ use: inout Use, servers: [Int32]) {
        for record in use.own.reversed() { ledger.undo(record) }
        for common in use.common.reversed() {
            guard let unused = table.release(common) else { continue }
            if unused.isCopy { copies?.remove(unused.mounted) }
            ledger.undo(unused.record)
        }
        // Also those of earlier writers, if they could not be closed then.
        for (number, entry) in table.unclosed where setWritable(false, entry, servers) { table.close(number) }
        use = Use()
    }
}
