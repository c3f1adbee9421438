import CLinux
import Glibc
import LinuxKernel

/// Makes the device nodes of a plan, and the links of config-linux.md, "/dev symbolic links".
struct DeviceNodes {
    let plan: ContainerPlan
    let lookup: RootLookup

    func make() throws(SystemError) {
        // A bind mount on /dev brings its own nodes.
        let bound = plan.mounts.contains { $0.destination == "/dev" && $0.isBind }
        for device in plan.devices where !(device.isDefault && (bound || isMounted(device.path))) { try make(device) }
        if !bound { try makeLinks() }
    }

    private func isMounted(_ path: String) -> Bool { plan.mounts.contains { $0.destination == path } }

    private func makeLinks() throws(SystemError) {
        let directory = try lookup.open("/dev", missing: .directory)
        let dev = directory.raw
        let links = [
            ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"), ("stdout", "/proc/self/fd/1"),
            ("stderr", "/proc/self/fd/2"), ("ptmx", "pts/ptmx"),
        ]
        // SAFETY: the call only reads the target and the name.
        for (name, target) in links where unsafe symlinkat(target, dev, name) != 0 && errno != EEXIST {
            throw SystemError("make link", "/dev/" + name, errno: errno)
        }
    }

    private func make(_ device: DevicePlan) throws(SystemError) {
        let path = device.path
        let (directory, name) = (Files.parent(of: path), Files.name(of: path))
        let parent = try lookup.open(directory.isEmpty ? "/" : directory, missing: .directory)
        if let there = try find(name, in: parent, path) {
            if device.isLike(there) { return }
            // "If a file already exists at path that does not match the requested device, the runtime MUST generate an error."
            guard device.isDefault else { throw SystemError("make device", path, errno: EEXIST) }
            // Programs rely on default devices, so don't trust another file of an image in that place.
            // SAFETY: the call only reads the name.
            try check("replace what is no device \(device.major):\(device.minor):", path) {
                unsafe unlinkat(parent.raw, name, 0)
            }
        }
        // SAFETY: the call only reads the name.
        switch unsafe clx_make_device(parent.raw, name, mode_t(device.mode), device.major, device.minor) {
        case 0...: try own(device, name, in: parent)
        case -EPERM where plan.namespaces.has(clx_new_user): try mountGuests(device)
        case let failure: throw SystemError("make device", path, errno: -failure)
        }
    }

    private func find(_ name: String, in parent: borrowing FileDescriptor, _ path: String) throws(SystemError)
        -> FileFacts?
    {
        // SAFETY: the call only reads the name.
        let found = unsafe openat(parent.raw, name, Int32(clx_open_path) | O_NOFOLLOW | O_CLOEXEC)
        guard found >= 0 else {
            if errno == ENOENT { return nil }
            throw SystemError("look at", path, errno: errno)
        }
        let file = FileDescriptor(owning: found)
        return FileFacts(file.raw)
    }

    /// Sets owner and mode, by descriptor: the name may be a link to one of the guest's files by now.
    private func own(_ device: DevicePlan, _ name: String, in parent: borrowing FileDescriptor) throws(SystemError) {
        // SAFETY: the calls only read their paths.
        let node = FileDescriptor(
            owning: try check("open", device.path) {
                unsafe openat(parent.raw, name, Int32(clx_open_path) | O_NOFOLLOW | O_CLOEXEC)
            })
        guard let facts = FileFacts(node.raw), device.isLike(facts) else {
            throw SystemError("make device", device.path, errno: EEXIST)
        }
        _ = unsafe chmod(node.name, mode_t(device.mode) & 0o7777)
        try check("set owner of", device.path) {
            unsafe fchownat(node.raw, "", device.user, device.group, Int32(clx_empty_path))
        }
    }

    /// Mounts the guest's own node: the kernel makes no nodes in a user namespace.
    private func mountGuests(_ device: DevicePlan) throws(SystemError) {
        let node = try FileDescriptor.open(device.path, Int32(clx_open_path) | O_NOFOLLOW)
        guard let facts = FileFacts(node.raw), device.isLike(facts) else {
            throw SystemError("show the guest's device", device.path, errno: ENODEV)
        }
        let target = try lookup.open(device.path, missing: .file, links: .refused)
        let copy = FileDescriptor(owning: try checkNegativeErrno("show", device.path, clx_copy_mount(node.raw, 0)))
        try checkNegativeErrno("show", device.path, clx_move_mount(copy.raw, target.raw))
    }
}

extension DevicePlan {
    /// Whether a file is the planned node, apart from owner and permissions.
    func isLike(_ file: FileFacts) -> Bool {
        let type = mode_t(mode) & S_IFMT
        return file.type == type && (type == S_IFIFO || file.number == DeviceNumber(major: major, minor: minor))
    }
}
