import AgentAPI
import CLinux
import Glibc
import LinuxKernel

/// Makes one mount of a container.
///
/// The mount is made or copied out of the container's reach and then moved to its place. Later changes use its
/// descriptor.
struct MountStep {
    /// The guest's directory where a new file system is mounted before it is moved.
    private static let stagingDirectory = "/tmp"

    /// ST_RELATIME (bits/statvfs.h).
    private static let statRelatime: UInt = 4096

    private let mount: MountPlan
    private let plan: ContainerPlan
    private let lookup: RootLookup
    private let kernelFiles: KernelFiles
    private let source: String
    private let type: String
    private let flags: UInt

    private var isBind: Bool { flags & UInt(MS_BIND) != 0 }
    /// Whether it is proc(5) or sysfs(5). Links have led other runtimes to restrict the wrong files of these.
    var isKernelFileSystem: Bool { !isBind && (type == "proc" || type == "sysfs") }

    init(_ mount: MountPlan, _ plan: ContainerPlan, _ lookup: RootLookup, _ kernelFiles: KernelFiles) {
        (self.mount, self.plan, self.lookup, self.kernelFiles) = (mount, plan, lookup, kernelFiles)
        if mount.type == "cgroup2", !plan.namespaces.newCgroup {
            (source, type, flags) = ("/sys/fs/cgroup/" + plan.cgroup, "", mount.flags | UInt(MS_BIND))
        } else {
            (source, type, flags) = (mount.source, mount.type, mount.flags)
        }
    }

    /// Whether it becomes read-only only when the container's files are complete: device nodes, links, and mount points
    /// of later mounts have to be made in a tmpfs first.
    var isReadOnlyAtLast: Bool {
        guard !isBind, Self.inMemory.contains(type) else { return false }
        let asked = flags & UInt(MS_RDONLY) != 0 || mount.recursiveAttributes & MountAttribute.readOnly != 0
        return asked && mount.recursiveCleared & MountAttribute.readOnly == 0
    }

    private static let inMemory = ["tmpfs", "devtmpfs"]

    /// Makes the mount, writable for now if `isReadOnlyAtLast`.
    /// - Returns: its root, in its place.
    func run() throws -> FileDescriptor {
        isBind ? try bind() : try mountNew()
    }

    // MARK: Binds

    private func bind() throws -> FileDescriptor {
        let origin = try Self.open(source)
        let target = try findTarget(FileFacts(origin.raw)?.type == S_IFDIR ? .directory : .file)
        let mounted = try copy(origin, recursive: flags & UInt(MS_REC) != 0)
        try attach(mounted, to: target)
        let rest = flags & ~(UInt(MS_BIND) | UInt(MS_REC))
        if rest != 0 { try remount(mounted.name, rest | UInt(MS_BIND)) }
        try setAttributes(of: mounted)
        return mounted
    }

    /// Opens a source. In volumes a container may put a link in a directory's place at any time: no link is followed
    /// there.
    static func open(_ source: String) throws(SystemError) -> FileDescriptor {
        guard source.hasPrefix(GuestPaths.root + "/") else {
            return try FileDescriptor.open(source, Int32(clx_open_path))
        }
        // Tries to open a directory first. The share's server announces file systems below it, and the kernel mounts one
        // only for an open of a directory (path_init in fs/namei.c, AT_NO_AUTOMOUNT of open_tree(2)).
        // SAFETY: the calls only read the path.
        var found = unsafe clx_open_without_links(source, Int32(clx_open_path) | O_DIRECTORY)
        if found == -ENOTDIR { found = unsafe clx_open_without_links(source, Int32(clx_open_path)) }
        return FileDescriptor(owning: try checkNegativeErrno("open", source, found))
    }

    private func copy(_ origin: borrowing FileDescriptor, recursive: Bool) throws(SystemError) -> FileDescriptor {
        FileDescriptor(
            owning: try checkNegativeErrno(failure, mount.destination, clx_copy_mount(origin.raw, recursive ? 1 : 0)))
    }

    /// Changes the flags of a bind mount.
    private func remount(_ path: String, _ flags: UInt) throws(SystemError) {
        // SAFETY: mount(2) only reads the path; a change of flags needs no other text.
        func attempt(_ flags: UInt) -> Bool { unsafe Glibc.mount(nil, path, nil, flags | UInt(MS_REMOUNT), nil) == 0 }
        if attempt(flags) { return }
        let failure = errno
        // Another user namespace may not clear locked flags of the mount (mount_namespaces(7)): keep them.
        var facts = statvfs()
        // SAFETY: statvfs(3) reads the path and fills the whole structure.
        if failure == EPERM, unsafe statvfs(path, &facts) == 0 {
            // ST_RDONLY … ST_NODIRATIME have the bits of MS_*; ST_RELATIME has another (statvfs(3)).
            let locked = UInt(MS_RDONLY) | UInt(MS_NOSUID) | UInt(MS_NODEV) | UInt(MS_NOEXEC)
            var kept = UInt(facts.f_flag) & (locked | UInt(MS_NOATIME) | UInt(MS_NODIRATIME))
            if UInt(facts.f_flag) & Self.statRelatime != 0 { kept |= UInt(MS_RELATIME) }
            if attempt(flags | kept) { return }
        }
        throw SystemError("remount", mount.destination, errno: failure)
    }

    // MARK: New file systems

    private func mountNew() throws -> FileDescriptor {
        let permissions = type == "tmpfs" ? try lookup.permissions(of: mount.destination) : nil
        let target = try findTarget(.directory)
        let mounted = try make(mount.data(over: permissions))
        try attach(mounted, to: target)
        if mount.copiesUp {
            do { try TreeCopy.copy(from: target.raw, to: mounted.raw) } catch {
                throw SystemError(
                    "copy up (\(error.operation) \(error.object)) to", mount.destination, errno: error.code)
            }
        }
        try setAttributes(of: mounted)
        return mounted
    }

    private func make(_ data: String) throws(SystemError) -> FileDescriptor {
        let flags = isReadOnlyAtLast ? flags & ~UInt(MS_RDONLY) : flags
        // SAFETY: mount(2) only reads its texts.
        if unsafe Glibc.mount(source, Self.stagingDirectory, type, flags, data.isEmpty ? nil : data) == 0 {
            return try FileDescriptor.open(Self.stagingDirectory, Int32(clx_open_path))
        }
        let code = errno
        if code == EPERM, let guests = plan.namespaces.guestsMount(of: type) { return try copy(guests) }
        throw SystemError(failure, mount.destination, errno: code)
    }

    private func copy(_ guests: NamespacePlan.GuestsMount) throws(SystemError) -> FileDescriptor {
        let copied = try copy(FileDescriptor.open(guests.path, Int32(clx_open_path)), recursive: true)
        if guests.isReadOnly || flags & UInt(MS_RDONLY) != 0 {
            try MountAttributes.makeReadOnly(copied.name, recursive: true, called: mount.destination)
        }
        return copied
    }

    // MARK: Both

    private var failure: String { "mount \(isBind ? source : type) on" }

    /// Finds the mount point, or makes it.
    private func findTarget(_ missing: RootLookup.Missing) throws -> FileDescriptor {
        if isKernelFileSystem { return try findOrdinaryDirectory() }
        let target = try lookup.open(mount.destination, missing: missing)
        guard kernelFiles.contains(target), (try? lookup.find(mount.destination, links: .refused)) == nil else {
            return target
        }
        throw MountPointError(
            mount: failure, destination: mount.destination, reason: lookup.unavailableReason(of: mount.destination),
            rule: "a link must not lead among the files of /proc or /sys")
    }

    /// Finds a directory without following links: masks and read-only paths would apply elsewhere (CVE-2019-19921,
    /// CVE-2023-27561).
    private func findOrdinaryDirectory() throws -> FileDescriptor {
        do {
            let target = try lookup.open(mount.destination, missing: .directory, links: .refused)
            if FileFacts(target.raw)?.type == S_IFDIR { return target }
        } catch  where error.code != ELOOP && error.code != ENOTDIR { throw error } catch {}
        throw MountPointError(
            mount: failure, destination: mount.destination, reason: lookup.unavailableReason(of: mount.destination),
            rule: "an ordinary directory is needed, reached without links")
    }

    private func attach(_ mounted: borrowing FileDescriptor, to target: borrowing FileDescriptor) throws(SystemError) {
        // Report ENOTDIR, as mount(2) does; move_mount(2) would say EINVAL.
        guard (FileFacts(mounted.raw)?.type == S_IFDIR) == (FileFacts(target.raw)?.type == S_IFDIR) else {
            throw SystemError(failure, mount.destination, errno: ENOTDIR)
        }
        try checkNegativeErrno(failure, mount.destination, clx_move_mount(mounted.raw, target.raw))
    }

    private func setAttributes(of mounted: borrowing FileDescriptor) throws(SystemError) {
        let path = mounted.name
        // A new mount has none below it yet, so `rro` means no more than `ro` there.
        let attributes = mount.recursiveAttributes & ~(isReadOnlyAtLast ? MountAttribute.readOnly : 0)
        // SAFETY: the calls only read the path; a change of propagation needs no other text.
        if attributes != 0 || mount.recursiveCleared != 0 {
            try unsafe checkNegativeErrno(
                "set attributes of", mount.destination,
                clx_mount_setattr(path, attributes, mount.recursiveCleared, 1))
        }
        for bits in mount.propagation {
            try check("set propagation of", mount.destination) { unsafe Glibc.mount(nil, path, nil, bits, nil) }
        }
    }
}

extension MountPlan {
    /// The file system's options. As under runc, a tmpfs without a mode gets that of the directory it covers. The
    /// default would open a directory of mode 0700 to everybody.
    /// - Parameter permissions: of the directory; nil when there was none.
    func data(over permissions: UInt32?) -> String {
        guard type == "tmpfs", let permissions, !data.split(separator: ",").contains(where: { $0.hasPrefix("mode=") })
        else { return data }
        return "mode=" + String(permissions, radix: 8) + (data.isEmpty ? "" : "," + data)
    }
}

/// The reason why nothing may be mounted at a destination of config.json.
struct MountPointError: Error, CustomStringConvertible {
    /// `mount proc on`
    let mount: String
    let destination: String
    /// `/proc is a symbolic link to /vol/p`
    let reason: String
    let rule: String
    var description: String { "\(mount) \(destination): \(reason): \(rule)" }
}
