import CLinux
import Glibc
import GuestSpec
import LinuxKernel
import OCISpec

/// The files that managers find in the mount namespace of the process that stands for a container: the container's, as far as the
/// host has them.
///
/// Podman copies into and out of a running container there, and lists the processes that the /proc there shows. Without a namespace
/// of its own these would be the host's files. What lives in the guest alone (a tmpfs, a disk) is empty here and can't be written, so
/// that nothing seems to be copied that the container won't see.
struct ContainerView {
    private enum Part {
        /// A copy of mounts of the host.
        case tree(Int32, isDirectory: Bool)
        case guests
    }
    private let root: Int32
    private let rootPath: String
    private var parts: [(destination: String, part: Part)] = []
    private var isProcWanted = false

    /// Takes what it needs of the caller's mounts.
    private init(bundle: String) throws {
        let spec = try Spec.load(bundle: bundle)
        rootPath = spec.root?.path ?? bundle + "/rootfs"
        root = try Mounts.copy(rootPath, readOnly: spec.root?.readonly ?? false, alone: true).take()
        for mount in spec.mounts ?? [] {
            if mount.destination == "/proc" { isProcWanted = true }
            guard
                !["/proc", "/sys"].contains(where: { mount.destination == $0 || mount.destination.hasPrefix($0 + "/") })
            else { continue }
            if mount.isBind, mount.guestsOwn == nil, mount.guestsMemory(Files.emptyMemory) == nil,
                let source = mount.source,
                let tree = try? Mounts.copy(
                    source, readOnly: mount.isReadOnly, recursive: mount.isRecursive, alone: true
                ).take()
            {
                parts.append((mount.destination, .tree(tree, isDirectory: Files.isDirectory(source))))
            } else {
                parts.append((mount.destination, .guests))
            }
        }
    }

    /// Moves the calling thread, which is to be the process's first: it is that one's namespace that others find.
    /// - Parameter bundle: of a container that has been created; its mount points are there.
    static func enter(bundle: String) throws {
        let view = try ContainerView(bundle: bundle)
        try checkNegativeErrno("make", "mount namespace", clx_unshare(Int32(clx_new_mount.rawValue)))
        try check("set propagation of", "/") { mount(nil, "/", nil, UInt(MS_PRIVATE) | UInt(MS_REC), nil) }
        try Mounts.attach(view.root, at: view.rootPath)
        close(view.root)
        try check("enter", view.rootPath) { chdir(view.rootPath) }
        try checkNegativeErrno("pivot root to", view.rootPath, clx_pivot_root(".", "."))
        try check("leave", "old root") { umount2(".", Int32(MNT_DETACH)) }
        try check("enter", "/") { chdir("/") }
        view.show()
    }

    /// From here on no path leads out of the container's root. What can't be shown is left out.
    private func show() {
        var covers: [String] = []
        for (destination, part) in parts {
            let isOurs = covers.contains { destination.hasPrefix($0 + "/") }
            switch part {
            case .tree(let tree, let isDirectory):
                if isOurs { isDirectory ? try? Files.makeDirectory(destination) : try? Files.write(destination, "") }
                try? Mounts.attach(tree, at: destination)
                close(tree)
            case .guests:
                if isOurs { try? Files.makeDirectory(destination) }
                guard Files.isDirectory(destination),
                    (try? Mounts.mount("tmpfs", at: destination, type: "tmpfs", data: "size=64k,mode=755")) != nil
                else { continue }
                covers.append(destination)
            }
        }
        for cover in covers { _ = clx_mount_setattr(cover, Self.readOnly, 0, 0) }
        let flags = UInt(MS_NOSUID) | UInt(MS_NODEV) | UInt(MS_NOEXEC)
        if isProcWanted { try? Mounts.mount("proc", at: "/proc", type: "proc", flags: flags) }
    }

    /// MOUNT_ATTR_RDONLY (mount_setattr(2)).
    private static let readOnly: UInt64 = 1
}
