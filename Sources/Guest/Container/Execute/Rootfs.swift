import CLinux
import Glibc
import Linux

/// Builds a container's view of files, in the mount namespace that is already its own.
///
/// The root may hold hostile links: every path below it is opened with RESOLVE_IN_ROOT and used by descriptor.
struct Rootfs {
    let plan: ContainerPlan
    private let root: Int32

    /// Makes the root a mount of its own, that pivot_root(2) wants.
    init(_ plan: ContainerPlan) throws(SystemError) {
        self.plan = plan
        try check("set propagation of", "/") { mount(nil, "/", nil, UInt(MS_SLAVE) | UInt(MS_REC), nil) }
        guard Files.isDirectory(plan.rootfs) else { throw SystemError("use root", plan.rootfs, errno: ENOENT) }
        try Mounts.bind(plan.rootfs, at: plan.rootfs)
        root = try FileDescriptor.open(plan.rootfs, Int32(clx_open_path) | O_DIRECTORY).take()
    }

    func build() throws(SystemError) {
        for mount in plan.mounts { try add(mount) }
        if !plan.mounts.contains(where: { $0.destination == "/dev" && $0.isBind }) { try makeDevices() }
    }

    /// A missing working directory is made, as runc does it; where it can't be, the change to it tells why.
    func makeWorkingDirectory() {
        if let directory = try? open(plan.process.directory, directory: true) { close(directory) }
    }

    /// Leaves the old root behind.
    func enter() throws(SystemError) {
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
        let target = try open("/dev/console", directory: false)
        try Mounts.bind("/proc/self/fd/\(slave)", at: Self.name(target), recursive: false)
        close(target)
    }

    // MARK: Mounts

    private static func name(_ descriptor: Int32) -> String { "/proc/self/fd/\(descriptor)" }

    private func add(_ mount: MountPlan) throws(SystemError) {
        var source = mount.source
        var flags = mount.flags
        var type = mount.type
        if type == "cgroup2", !plan.newCgroupNamespace {
            (source, type, flags) = ("/sys/fs/cgroup/" + plan.cgroup, "", flags | UInt(MS_BIND))
        }
        let bind = flags & UInt(MS_BIND) != 0
        if bind, !Files.exists(source) { throw SystemError("bind", source, errno: ENOENT) }
        let target = try open(mount.destination, directory: !bind || Files.isDirectory(source))
        defer { close(target) }
        do {
            if bind {
                try Mounts.mount(source, at: Self.name(target), flags: flags & (UInt(MS_BIND) | UInt(MS_REC)))
            } else {
                try Mounts.mount(
                    source, at: Self.name(target), type: type, flags: flags, data: mount.data.isEmpty ? nil : mount.data
                )
            }
        } catch { throw SystemError("mount \(bind ? source : type) on", mount.destination, errno: error.code) }
        let rest = flags & ~(UInt(MS_BIND) | UInt(MS_REC))
        guard bind && rest != 0 || !mount.propagation.isEmpty || mount.recursiveAttributes != 0 else { return }
        // The descriptor still leads below the new mount: look it up again.
        let mounted = try open(mount.destination, directory: nil)
        defer { close(mounted) }
        let path = Self.name(mounted)
        if bind, rest != 0 {
            try check("remount", mount.destination) {
                Glibc.mount(nil, path, nil, rest | UInt(MS_BIND) | UInt(MS_REMOUNT) | flags & UInt(MS_REC), nil)
            }
        }
        if mount.recursiveAttributes != 0 {
            try checkNegated(
                "set attributes of", mount.destination, clx_mount_setattr(path, mount.recursiveAttributes, 0, 1))
        }
        for bits in mount.propagation {
            try check("set propagation of", mount.destination) { Glibc.mount(nil, path, nil, bits, nil) }
        }
    }

    /// A path below the root, by descriptor; what is missing is made, as a directory or a file. nil: it must be there.
    private func open(_ path: String, directory: Bool?) throws(SystemError) -> Int32 {
        let whole = clx_open_in_root(root, path, Int32(clx_open_path), 0)
        if whole >= 0 { return whole }
        guard let directory, whole == -ENOENT else { throw SystemError("open", path, errno: -whole) }
        let names = path.split(separator: "/").map(String.init)
        var prefix = ""
        for (index, name) in names.enumerated() {
            let parent = try checkNegated(
                "open", prefix,
                clx_open_in_root(root, prefix.isEmpty ? "/" : prefix, Int32(clx_open_path) | O_DIRECTORY, 0))
            defer { close(parent) }
            prefix += "/" + name
            let made: Int32
            if index == names.count - 1, !directory {
                made = mknodat(parent, name, S_IFREG | 0o644, 0)
            } else {
                made = mkdirat(parent, name, 0o755)
            }
            if made != 0, errno != EEXIST { throw SystemError("make mount point", prefix, errno: errno) }
        }
        return try checkNegated("open", path, clx_open_in_root(root, path, Int32(clx_open_path), 0))
    }

    // MARK: /dev

    /// The devices and links of config-linux.md, "Default Devices" and "/dev symbolic links".
    private func makeDevices() throws(SystemError) {
        let dev = try open("/dev", directory: true)
        defer { close(dev) }
        let devices: [(String, UInt32, UInt32)] = [
            ("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0),
        ]
        for (name, major, minor) in devices {
            let result = clx_make_device(dev, name, S_IFCHR | 0o666, major, minor)
            if result < 0 && result != -EEXIST { throw SystemError("make device", "/dev/" + name, errno: -result) }
            if result == 0 { fchmodat(dev, name, 0o666, 0) }
        }
        let links = [
            ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"),
            ("ptmx", "pts/ptmx"),
        ]
        for (name, target) in links where symlinkat(target, dev, name) != 0 && errno != EEXIST {
            throw SystemError("make link", "/dev/" + name, errno: errno)
        }
    }
}
