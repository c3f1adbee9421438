import CLinux
import Glibc
import LinuxKernel

/// Builds a container's file systems, in the container's mount namespace.
///
/// The root may hold hostile links: every path below it is opened with RESOLVE_IN_ROOT and used by descriptor. All of
/// it happens before the root is entered, while /proc and /dev are still the guest's.
struct Rootfs: ~Copyable {
    let plan: ContainerPlan
    private let root: FileDescriptor
    /// Mounts of proc and sysfs with their roots: paths below them are looked up from there.
    private var kernelMounts: [(destination: String, root: Int32)] = []
    /// Mounts that are written to until everything is in its place.
    private var readOnlyAtLast: [(destination: String, root: Int32)] = []
    private let kernelFiles = KernelFiles()

    var lookup: RootLookup { RootLookup(root: root.raw) }

    /// Makes the root a mount, as pivot_root(2) needs it.
    init(_ plan: ContainerPlan) throws(SystemError) {
        self.plan = plan
        // SAFETY: mount(2) only reads the path; a change of propagation needs no other text.
        try check("set propagation of", "/") { unsafe mount(nil, "/", nil, UInt(MS_SLAVE) | UInt(MS_REC), nil) }
        guard Files.isDirectory(plan.rootfs) else { throw SystemError("use root", plan.rootfs, errno: ENOENT) }
        try Mounts.bind(plan.rootfs, at: plan.rootfs)
        root = try FileDescriptor.open(plan.rootfs, Int32(clx_open_path) | O_DIRECTORY)
    }

    deinit { for place in kernelMounts + readOnlyAtLast { close(place.root) } }

    mutating func build() throws {
        for mount in plan.mounts { try add(mount) }
        try DeviceNodes(plan: plan, lookup: lookup).make()
    }

    private mutating func add(_ mount: MountPlan) throws {
        let step = MountStep(mount, plan, lookup, kernelFiles)
        let mounted = try step.run()
        // The new mount hides those at or below its destination.
        kernelMounts.removeAll { place in
            let isCovered =
                place.destination == mount.destination || place.destination.hasPrefix(mount.destination + "/")
            if isCovered { close(place.root) }
            return isCovered
        }
        if step.isKernelFileSystem {
            kernelMounts.append((mount.destination, mounted.take()))
        } else if step.isReadOnlyAtLast {
            readOnlyAtLast.append((mount.destination, mounted.take()))
        }
    }

    /// Makes a missing working directory, as runc does. If that fails, the later change to the directory says why.
    func makeWorkingDirectory() {
        _ = try? lookup.open(plan.process.directory, missing: .directory)
    }

    /// Opens a terminal of the container's devpts and mounts it on /dev/console.
    func openTerminal() throws(SystemError) -> PseudoTerminal {
        let terminal = try ProcessSetup.openTerminal(plan.process) { path in
            // SAFETY: the call only reads the path.
            unsafe clx_open_in_root(root.raw, path, O_RDWR | O_NOCTTY, 0)
        }
        try? show(terminal.slave, at: "/dev/console")
        return terminal
    }

    /// Mounts a file on a path. No link is followed: the image would choose the file that the terminal covers
    /// (CVE-2025-52565).
    private func show(_ file: borrowing FileDescriptor, at path: String) throws(SystemError) {
        let target = try lookup.open(path, missing: .file, links: .refused)
        let copy = FileDescriptor(owning: try checkNegativeErrno("copy mount of", path, clx_copy_mount(file.raw, 0)))
        try checkNegativeErrno("show", path, clx_move_mount(copy.raw, target.raw))
    }

    /// Makes paths read-only and masks others. To be called after everything is mounted.
    func restrict() throws {
        let covers = try RestrictedPaths()
        for path in plan.readOnly {
            if let place = try find(path) { try covers.makeReadOnly(place, path) }
        }
        for path in plan.masked {
            if let place = try find(path) { try covers.mask(place, path) }
        }
        for place in readOnlyAtLast {
            try MountAttributes.makeReadOnly("/proc/self/fd/\(place.root)", called: place.destination)
        }
        if plan.readOnlyRoot { try MountAttributes.makeReadOnly(root.name, called: "/") }
    }

    /// Looks up a path, from the root of its proc or sysfs if it has one: that mount may have been moved meanwhile.
    /// - Returns: nil when nothing is there.
    private func find(_ path: String) throws(SystemError) -> FileDescriptor? {
        let place = kernelMounts.last { path.hasPrefix($0.destination + "/") }
        guard let place else { return try lookup.find(path) }
        return try RootLookup(root: place.root).find(String(path.dropFirst(place.destination.utf8.count)))
    }

    /// Makes the container's root the process's root, and detaches the old one.
    func enter() throws(SystemError) {
        let root = root.raw
        try check("enter", plan.rootfs) { fchdir(root) }
        try Mounts.pivotToWorkingDirectory(plan.rootfs)
        // Nothing without a request: it would undo the propagation of single mounts.
        guard plan.rootPropagation != 0 else { return }
        // SAFETY: mount(2) only reads the path; a change of propagation needs no other text.
        try check("set propagation of", "/") { unsafe mount(nil, "/", nil, plan.rootPropagation, nil) }
    }
}
