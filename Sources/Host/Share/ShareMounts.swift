import CLinux
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
    /// Lets a share be written to, or not, on the host and in the mount namespaces of the share's server.
    /// - Parameters:
    ///   - mounted: its mount points, as this process sees them.
    ///   - name: its mount point below the server's root.
    ///   - servers: the server's processes.
    /// - Throws: `SystemError` when a namespace can't be entered or a mount not changed; EBUSY where a file is open for
    ///   writing.
    func setWritable(_ isWritable: Bool, _ mounted: [String], name: String, servers: [Int32]) throws(SystemError)
    /// Whether a path below a share leads to a file without following links, and without other mounts on its way.
    func contains(_ share: String, _ rest: String, _ identity: SourceCopy.Identity) -> Bool
    /// Mounts an overlay.
    /// - Throws: `ShareError` with the layers, when the kernel refuses them.
    func overlay(_ options: MountOptions, at target: String) throws
}

/// A detached copy of the mounts of a share's source.
package struct SourceCopy: ~Copyable {
    /// Identity of the source: equal for the same file or directory.
    package struct Identity: Hashable, Sendable {
        let device: UInt64
        let inode: UInt64

        /// - Throws: `SystemError` of fstat(2).
        package init(_ share: GuestSpec.HostPathShare, _ tree: borrowing FileDescriptor) throws(SystemError) {
            self.init(try tree.facts(share.source))
        }

        init(_ facts: stat) { (device, inode) = (UInt64(facts.st_dev), UInt64(facts.st_ino)) }
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

    package func setWritable(_ isWritable: Bool, _ mounted: [String], name: String, servers: [Int32])
        throws(SystemError)
    {
        let own = Mounts.namespace
        // The server's first: its copy of the mount decides, and is the one that may be busy.
        for process in servers {
            let namespace = SharedDescriptor(try FileDescriptor.open("/proc/\(process)/ns/mnt", O_RDONLY))
            guard try namespace.descriptor.facts("mount namespace").st_ino != own else { continue }
            try Mounts.setReadOnly(!isWritable, "/" + name, in: namespace)
        }
        for path in mounted { try Mounts.setReadOnly(!isWritable, path) }
    }

    package func contains(_ share: String, _ rest: String, _ identity: SourceCopy.Identity) -> Bool {
        guard let top = try? FileDescriptor.open(share, Int32(clx_open_path)) else { return false }
        // SAFETY: the call only reads the path.
        let found = unsafe clx_open_on_mount(top.raw, rest, Int32(clx_open_path))
        guard found >= 0 else { return false }
        let file = FileDescriptor(owning: found)
        return (try? file.facts(share)).map(SourceCopy.Identity.init) == identity
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
