import CLinux
import Glibc
import Linux

/// Builds a container's view of files, in the mount namespace that is already its own.
///
/// The root may hold hostile links: every path below it is opened with RESOLVE_IN_ROOT and used by descriptor.
struct Rootfs: ~Copyable {
    let plan: ContainerPlan
    private let root: FileDescriptor
    private var lookup: RootLookup { RootLookup(root: root.raw) }

    /// Makes the root a mount of its own, that pivot_root(2) wants.
    init(_ plan: ContainerPlan) throws(SystemError) {
        self.plan = plan
        try check("set propagation of", "/") { mount(nil, "/", nil, UInt(MS_SLAVE) | UInt(MS_REC), nil) }
        guard Files.isDirectory(plan.rootfs) else { throw SystemError("use root", plan.rootfs, errno: ENOENT) }
        try Mounts.bind(plan.rootfs, at: plan.rootfs)
        root = try FileDescriptor.open(plan.rootfs, Int32(clx_open_path) | O_DIRECTORY)
    }

    func build() throws(SystemError) {
        for mount in plan.mounts { try add(mount) }
        try makeDevices()
    }

    /// A missing working directory is made, as runc does it; where it can't be, the change to it tells why.
    func makeWorkingDirectory() {
        _ = try? lookup.open(plan.process.directory, missing: .directory)
    }

    /// Leaves the old root behind.
    func enter() throws(SystemError) {
        let root = root.raw
        try check("enter", plan.rootfs) { fchdir(root) }
        try checkNegated("pivot root to", plan.rootfs, clx_pivot_root(".", "."))
        try check("leave", "old root") { umount2(".", Int32(MNT_DETACH)) }
        try check("enter", "/") { chdir("/") }
        try check("set propagation of", "/") { mount(nil, "/", nil, plan.rootPropagation, nil) }
    }

    /// After everything is mounted: what the container may see but not write, or not see.
    func restrict() throws(SystemError) {
        for path in plan.readOnly where Files.exists(path) {
            try Mounts.bind(path, at: path)
            try checkNegated("make read-only", path, clx_mount_setattr(path, 1, 0, 0))
        }
        for path in plan.masked where Files.exists(path) {
            if Files.isDirectory(path) {
                try Mounts.mount("tmpfs", at: path, type: "tmpfs", flags: UInt(MS_RDONLY), data: "size=0k")
            } else {
                try Mounts.bind("/dev/null", at: path, recursive: false)
            }
        }
        if plan.readOnlyRoot { try checkNegated("make read-only", "/", clx_mount_setattr("/", 1, 0, 0)) }
    }

    /// Binds the terminal on /dev/console.
    func addConsole(_ slave: Int32) throws(SystemError) {
        let target = try lookup.open("/dev/console", missing: .file)
        try Mounts.bind("/proc/self/fd/\(slave)", at: Self.name(target), recursive: false)
    }

    // MARK: Mounts

    private static func name(_ descriptor: borrowing FileDescriptor) -> String { "/proc/self/fd/\(descriptor.raw)" }

    private func add(_ mount: MountPlan) throws(SystemError) {
        var source = mount.source
        var flags = mount.flags
        var type = mount.type
        if type == "cgroup2", !plan.namespaces.newCgroup {
            (source, type, flags) = ("/sys/fs/cgroup/" + plan.cgroup, "", flags | UInt(MS_BIND))
        }
        let bind = flags & UInt(MS_BIND) != 0
        if bind, !Files.exists(source) { throw SystemError("bind", source, errno: ENOENT) }
        let target = try lookup.open(
            mount.destination, missing: !bind || Files.isDirectory(source) ? .directory : .file)
        do {
            if bind {
                try Mounts.mount(source, at: Self.name(target), flags: flags & (UInt(MS_BIND) | UInt(MS_REC)))
            } else {
                try mountNew(type, source, flags, mount, at: Self.name(target))
            }
        } catch { throw SystemError("mount \(bind ? source : type) on", mount.destination, errno: error.code) }
        let rest = flags & ~(UInt(MS_BIND) | UInt(MS_REC))
        guard
            bind && rest != 0 || !mount.propagation.isEmpty || mount.recursiveAttributes != 0 || mount.copiesUp
        else { return }
        // The descriptor still leads below the new mount: look it up again.
        let mounted = try lookup.open(mount.destination, missing: .fails)
        let path = Self.name(mounted)
        if mount.copiesUp {
            do { try TreeCopy.copy(from: target.raw, to: mounted.raw) } catch {
                throw SystemError(
                    "copy up (\(error.operation) \(error.object)) to", mount.destination, errno: error.code)
            }
        }
        if bind, rest != 0 { try remount(path, rest | UInt(MS_BIND) | flags & UInt(MS_REC), mount.destination) }
        if mount.recursiveAttributes != 0 || mount.recursiveCleared != 0 {
            try checkNegated(
                "set attributes of", mount.destination,
                clx_mount_setattr(path, mount.recursiveAttributes, mount.recursiveCleared, 1))
        }
        for bits in mount.propagation {
            try check("set propagation of", mount.destination) { Glibc.mount(nil, path, nil, bits, nil) }
        }
    }

    private func mountNew(_ type: String, _ source: String, _ flags: UInt, _ mount: MountPlan, at path: String)
        throws(SystemError)
    {
        // What is copied up must be written first.
        let flags = mount.copiesUp ? flags & ~UInt(MS_RDONLY) : flags
        do {
            try Mounts.mount(source, at: path, type: type, flags: flags, data: mount.data.isEmpty ? nil : mount.data)
        } catch  where type == "sysfs" && error.code == EPERM && plan.namespaces.has(clx_new_user) {
            // Users of a namespace of their own may not mount it without a network of their own; they may see the guest's.
            try Mounts.bind("/sys", at: path)
            let mounted = try lookup.open(mount.destination, missing: .fails)
            try checkNegated("make read-only", mount.destination, clx_mount_setattr(Self.name(mounted), 1, 0, 1))
        } catch  where type == "cgroup2" && error.code == EBUSY {
            // The guest's /sys, bound above, has one there; only something else may be mounted over it.
            try Mounts.mount("tmpfs", at: path, type: "tmpfs", flags: UInt(MS_RDONLY), data: "size=0k")
            let cover = try lookup.open(mount.destination, missing: .fails)
            try Mounts.mount(source, at: Self.name(cover), type: type, flags: flags)
        }
    }

    /// Changes the flags of a bind mount.
    private func remount(_ path: String, _ flags: UInt, _ destination: String) throws(SystemError) {
        func attempt(_ flags: UInt) -> Bool { Glibc.mount(nil, path, nil, flags | UInt(MS_REMOUNT), nil) == 0 }
        if attempt(flags) { return }
        let failure = errno
        // Another user namespace may not take away what the mount below has (mount_namespaces(7)): keep that too.
        var facts = statvfs()
        if failure == EPERM, statvfs(path, &facts) == 0 {
            // ST_RDONLY … ST_NODIRATIME have the bits of MS_*, ST_RELATIME has one of its own (statvfs(3)).
            let locked = UInt(MS_RDONLY) | UInt(MS_NOSUID) | UInt(MS_NODEV) | UInt(MS_NOEXEC)
            var kept = UInt(facts.f_flag) & (locked | UInt(MS_NOATIME) | UInt(MS_NODIRATIME))
            if UInt(facts.f_flag) & 4096 != 0 { kept |= UInt(MS_RELATIME) }
            if attempt(flags | kept) { return }
        }
        throw SystemError("remount", destination, errno: failure)
    }

    // MARK: /dev

    /// The devices of the plan and the links of config-linux.md, "/dev symbolic links".
    private func makeDevices() throws(SystemError) {
        // A /dev that comes from outside has its own.
        let bound = plan.mounts.contains { $0.destination == "/dev" && $0.isBind }
        for device in plan.devices where !(bound && device.isDefault) { try make(device) }
        guard !bound else { return }
        let directory = try lookup.open("/dev", missing: .directory)
        let dev = directory.raw
        let links = [
            ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"), ("ptmx", "pts/ptmx"),
        ]
        for (name, target) in links where symlinkat(target, dev, name) != 0 && errno != EEXIST {
            throw SystemError("make link", "/dev/" + name, errno: errno)
        }
    }

    private func make(_ device: DevicePlan) throws(SystemError) {
        let (path, mode) = (device.path, mode_t(device.mode))
        let slash = path.lastIndex(of: "/") ?? path.startIndex
        let name = String(path[path.index(after: slash)...])
        let directory = try lookup.open(slash == path.startIndex ? "/" : String(path[..<slash]), missing: .directory)
        let parent = directory.raw
        switch clx_make_device(parent, name, mode, device.major, device.minor) {
        case 0...:
            fchmodat(parent, name, mode & 0o7777, 0)
            try check("set owner of", path) { fchownat(parent, name, device.user, device.group, 0) }
        case -EPERM where plan.namespaces.has(clx_new_user):
            // No nodes are made in a user namespace: the guest's own is shown.
            let target = try lookup.open(path, missing: .file)
            try Mounts.bind(path, at: Self.name(target), recursive: false)
        case -EEXIST:
            var facts = stat()
            guard fstatat(parent, name, &facts, Int32(AT_SYMLINK_NOFOLLOW)) == 0 else {
                throw SystemError("look at", path, errno: errno)
            }
            let number =
                UInt64(device.major & 0xfff) << 8 | UInt64(device.minor & 0xff) | UInt64(device.minor >> 8) << 20
            let same = facts.st_mode & S_IFMT == mode & S_IFMT && (mode & S_IFMT == S_IFIFO || facts.st_rdev == number)
            // "If a file already exists at path that does not match the requested device, the runtime MUST generate an error."
            guard same || device.isDefault else { throw SystemError("make device", path, errno: EEXIST) }
        case let failure: throw SystemError("make device", path, errno: -failure)
        }
    }
}
