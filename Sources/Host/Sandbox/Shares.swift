import Cleanup
import Glibc
import LinuxKernel
import OCISpec

/// A file or directory of the host that the guest sees, for one container or for several.
///
/// By each way that leads to it, a file is another one to the guest: programs that lock or map it by two of them would not know of each
/// other. So what containers have in common is shown once.
struct ShownPath: Sendable {
    struct Identity: Hashable, Sendable {
        let source: String
        let device: UInt64
        let inode: UInt64
        let readOnly: Bool
        let recursive: Bool
    }

    let mounted: String
    let made: Ledger.RecordID
    var users: Int
}

/// The mounts of a share's source, copied and not attached yet.
struct SourceCopy: ~Copyable {
    let tree: FileDescriptor
    /// What `tree` itself is; nil for a source that only the container's manager sees.
    let identity: ShownPath.Identity?

    /// - Parameter process: whose mounts count; nil: this process's.
    init(_ share: GuestSpec.Share, seenBy process: Int32?) throws(SystemError) {
        try self.init(share, seenBy: process) { (process) throws(SystemError) in
            try Mounts.copy(share.source, readOnly: share.readOnly, recursive: share.recursive, seenBy: process)
        }
    }

    /// - Parameter copy: copies the source's mounts, as a process sees them.
    init(
        _ share: GuestSpec.Share, seenBy process: Int32?, copy: (Int32?) throws(SystemError) -> FileDescriptor
    ) throws(SystemError) {
        func identity(_ tree: borrowing FileDescriptor) throws(SystemError) -> ShownPath.Identity {
            let facts = try tree.facts(share.source)
            return ShownPath.Identity(
                source: share.source, device: UInt64(facts.st_dev), inode: UInt64(facts.st_ino),
                readOnly: share.readOnly, recursive: share.recursive)
        }
        let first = try copy(process)
        let seen = try identity(first)
        guard process != nil else {
            tree = first
            self.identity = seen
            return
        }
        // Seen here as well: this process's copy, so that what hooks mount below comes along. What is at the path may change at any time:
        // the two copies are compared, and not the path.
        if let own = try? copy(nil), try identity(own) == seen {
            tree = own
            self.identity = seen
        } else {
            tree = first
            self.identity = nil
        }
    }
}

extension Sandbox {
    /// Shows the guest what of the host a container is to have.
    /// - Returns: the same specification, with the paths where it is.
    func show(_ guest: GuestSpec, for container: Container) throws -> GuestSpec {
        var places: [String: String] = [:]
        for share in guest.shares {
            if let layers = share.layers {
                try mount(layers: layers, at: share.mounted, for: container)
            } else {
                places[share.mounted] = try show(share, for: container)
            }
        }
        return guest.moved(places, paths: paths)
    }

    private func show(_ share: GuestSpec.Share, for container: Container) throws -> String {
        let copy = try SourceCopy(share, seenBy: container.process)
        let identity = copy.identity
        if let identity, let known = shown[identity], !share.recursive || !Mounts.hasMounts(below: share.source) {
            shown[identity]?.users += 1
            container.shown.append(identity)
            return known.mounted
        }
        // A container's name may be used again while others still have what the first one showed.
        var target = share.mounted
        while shown.values.contains(where: { $0.mounted == target }) { target += "+" }
        let made = try attach(copy, at: target)
        if let identity, shown[identity] == nil {
            shown[identity] = ShownPath(mounted: target, made: made, users: 1)
            container.shown.append(identity)
        } else {
            container.made.append(made)
        }
        return target
    }

    /// For one container alone.
    func mount(_ share: GuestSpec.Share, for container: Container) throws {
        container.made.append(try attach(SourceCopy(share, seenBy: container.process), at: share.mounted))
    }

    private func attach(_ copy: borrowing SourceCopy, at target: String) throws -> Ledger.RecordID {
        let facts = try copy.tree.facts(target)
        let made = try ledger.add(.mount(path: target, namespace: Mounts.namespace))
        do {
            if facts.st_mode & S_IFMT == S_IFDIR {
                try Files.makeDirectory(target, mode: 0o755)
            } else {
                try Files.write(target, "")
            }
            try Mounts.attach(copy.tree, at: target)
        } catch {
            ledger.undo(made)
            throw error
        }
        return made
    }

    /// Their directories are the host's, so that the host puts them together.
    private func mount(layers: [String], at target: String, for container: Container) throws {
        let options = MountOptions(layers)
        try Files.makeDirectory(target, mode: 0o755)
        container.made.append(try ledger.add(.mount(path: target, namespace: Mounts.namespace)))
        do {
            try Mounts.mount("overlay", at: target, type: "overlay", flags: options.flags, data: options.data)
        } catch { throw SandboxError(.invalid, "mount overlay of \(options.data ?? ""): \(error)") }
    }

    /// Takes from the host what was made for a container, but for what others have as well.
    func takeAway(_ container: Container) {
        container.takeAway(from: ledger)
        for identity in container.shown.reversed() {
            guard let path = shown[identity] else { continue }
            shown[identity]?.users -= 1
            guard path.users == 1 else { continue }
            shown[identity] = nil
            ledger.undo(path.made)
        }
        container.shown = []
    }
}
