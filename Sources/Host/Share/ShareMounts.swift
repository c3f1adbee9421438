import Glibc
import GuestSpec
import LinuxKernel

/// Makes the mounts of shared paths.
package protocol ShareMounts: Sendable {
    /// Mounts the tree `mounts` at `exported`, read-only.
    /// - Throws: `SystemError` of the mount.
    func export(_ mounts: String, at exported: String) throws
    /// Copies the mounts of a share's source.
    /// - Parameter view: the mounts among which the path is looked up; nil: this process's.
    /// - Throws: `SystemError` when the path or the namespace can't be opened, or the mounts can't be copied.
    func copy(_ share: GuestSpec.HostPathShare, in view: ManagerView?) throws(SystemError) -> SourceCopy
    /// Mounts a copy.
    /// - Throws: `SystemError` of the mount.
    func attach(_ copy: borrowing SourceCopy, at target: String) throws
    /// Mounts an overlay.
    /// - Throws: `ShareError` with the layers, when the kernel refuses them.
    func overlay(_ options: MountOptions, at target: String) throws
}

/// A detached copy of the mounts of a share's source.
package struct SourceCopy: ~Copyable {
    /// Identity of the source: equal for the same file or directory with the same options.
    package struct Identity: Hashable, Sendable {
        let source: String
        let device: UInt64
        let inode: UInt64
        let readOnly: Bool
        let recursive: Bool
        let owners: OwnerMap?

        /// - Throws: `SystemError` of fstat(2).
        package init(_ share: GuestSpec.HostPathShare, _ tree: borrowing FileDescriptor) throws(SystemError) {
            let facts = try tree.facts(share.source)
            (device, inode) = (UInt64(facts.st_dev), UInt64(facts.st_ino))
            (source, readOnly, recursive) = (share.source, share.readOnly, share.recursive)
            owners = share.owners
        }
    }

    package let tree: FileDescriptor
    package let identity: Identity
    /// Whether the source's path leads this process to it too.
    package let isSeenHere: Bool

    package init(_ tree: consuming FileDescriptor, _ identity: Identity, isSeenHere: Bool = true) {
        self.tree = tree
        self.identity = identity
        self.isSeenHere = isSeenHere
    }

    /// - Parameter copy: copies the source's mounts, in a mount namespace.
    init(
        _ share: GuestSpec.HostPathShare, in view: ManagerView?,
        copy: (SharedDescriptor?) throws(SystemError) -> FileDescriptor
    ) throws(SystemError) {
        let first = try copy(view?.namespace)
        let seen = try Identity(share, first)
        guard let view else {
            self.init(first, seen)
            return
        }
        // When this process sees the same source, takes its own copy, so that later mounts of hooks below it
        // propagate. A path may change at any time: the two copies are compared, not the paths.
        if !share.recursive || !view.differs(below: share.source), let own = try? copy(nil),
            try Identity(share, own) == seen
        {
            self.init(own, seen)
        } else {
            self.init(first, seen, isSeenHere: false)
        }
    }
}

/// The kernel's mounts (mount(2), open_tree(2), move_mount(2)).
package struct KernelMounts: ShareMounts {
    package init() {}

    /// Mounts below `mounts` propagate to `exported` and remain writable where they were. The tree itself is
    /// read-only: otherwise the guest could place a link where the host mounts next.
    package func export(_ mounts: String, at exported: String) throws {
        try Mounts.lend(mounts, at: exported, readOnly: true)
        try Mounts.mount("none", at: exported, flags: UInt(MS_SLAVE))
    }

    package func copy(_ share: GuestSpec.HostPathShare, in view: ManagerView?) throws(SystemError) -> SourceCopy {
        try SourceCopy(share, in: view) { (namespace) throws(SystemError) in
            let copy = try Mounts.copy(
                share.source, readOnly: share.readOnly && !share.writableBelow, recursive: share.recursive,
                in: namespace)
            if share.writableBelow { try Mounts.makeReadOnly(copy, of: share.source) }
            if let owners = share.owners { try owners.apply(to: copy, of: share.source, by: owners.namespace()) }
            return copy
        }
    }

    package func attach(_ copy: borrowing SourceCopy, at target: String) throws {
        try Mounts.attach(copy.tree, at: target)
    }

    package func overlay(_ options: MountOptions, at target: String) throws {
        do {
            try Mounts.mount("overlay", at: target, type: "overlay", flags: options.flags, data: options.data)
        } catch { throw ShareError(description: "mount overlay of \(options.data ?? ""): \(error)") }
    }
}

/// The reason why a path of the host can't be shared.
package struct ShareError: Error, CustomStringConvertible {
    package let description: String
}
