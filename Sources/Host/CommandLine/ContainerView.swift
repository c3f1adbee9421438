import CLinux
import FoundationEssentials
import Glibc
import GuestSpec
import LinuxKernel
import OCISpec
import Sandbox

/// The container's files on the host, as managers find them in the mount namespace of its attach process.
///
/// Podman copies into and out of a running container there, and lists the processes in its /proc. In the host's mount
/// namespace it would find the host's files. Files that only the guest has (a tmpfs, a disk) are an empty directory
/// that can't be written. A copy to them fails instead of getting lost.
struct ContainerView: Codable, Equatable {
    struct Part: Codable, Equatable {
        let destination: String
        /// The bind mount's source on the host; nil for files that only the guest has.
        let source: String?
        let isReadOnly: Bool
        let isRecursive: Bool
    }

    let root: String
    let isRootReadOnly: Bool
    let hasProc: Bool
    let parts: [Part]

    init(_ bundle: Bundle) {
        let mounts = bundle.spec.mounts ?? []
        root = bundle.rootfs
        isRootReadOnly = bundle.spec.root?.readonly ?? false
        hasProc = mounts.contains { $0.destination == "/proc" }
        parts = mounts.filter { !Self.isKernels($0.destination) }.map(Part.init)
    }

    private static func isKernels(_ destination: String) -> Bool {
        ["/proc", "/sys"].contains { destination == $0 || destination.hasPrefix($0 + "/") }
    }

    // MARK: To the attach process

    var json: [UInt8] {
        get throws { Array(try JSONEncoder().encode(self)) }
    }

    init(json: [UInt8]) throws { self = try JSONDecoder().decode(Self.self, from: Data(json)) }
}

extension ContainerView.Part {
    init(_ mount: Mount) {
        let memory = mount.isBind ? mount.source.flatMap(MemoryFileSystem.find) : nil
        let isHosts = mount.isBind && mount.guestsOwn == nil && !(memory.map(mount.movesToGuest) ?? false)
        destination = mount.destination
        source = isHosts ? mount.source : nil
        (isReadOnly, isRecursive) = (mount.isReadOnly, mount.isRecursive)
    }
}

extension ContainerView {
    /// Moves the calling thread into a new mount namespace that holds this view.
    ///
    /// The calling thread must be the process's first: others find the namespace of that one in /proc/PID/ns. The
    /// container must exist, so that its mount points do.
    /// - Throws: `SystemError` if the root can't be entered. A part that can't be shown is left out.
    func enter() throws {
        // Copies of the caller's mounts, taken before the root changes.
        let root = try Mounts.copy(root, readOnly: isRootReadOnly, alone: true).take()
        let trees = parts.map(Tree.init)
        try checkNegativeErrno("make", "mount namespace", clx_unshare(Int32(clx_new_mount.rawValue)))
        // SAFETY: the calls only read their paths; mount(2) needs nothing else here.
        try check("set propagation of", "/") { unsafe mount(nil, "/", nil, UInt(MS_PRIVATE) | UInt(MS_REC), nil) }
        try Mounts.attach(root, at: self.root)
        close(root)
        try check("enter", self.root) { unsafe chdir(self.root) }
        try Mounts.pivotToWorkingDirectory(self.root)
        show(trees)
    }

    /// A copy of a part's mounts, not attached yet.
    private struct Tree {
        let destination: String
        /// nil for files that only the guest has, and for a source that can't be copied.
        let copy: Int32?
        let isDirectory: Bool

        init(_ part: Part) {
            destination = part.destination
            isDirectory = part.source.map(Files.isDirectory) ?? true
            copy = part.source.flatMap {
                try? Mounts.copy($0, readOnly: part.isReadOnly, recursive: part.isRecursive, alone: true).take()
            }
        }
    }

    /// Attaches the parts below the new root. No path leads out of it any more.
    private func show(_ trees: [Tree]) {
        var covers: [String] = []
        for tree in trees {
            let isCovered = covers.contains { tree.destination.hasPrefix($0 + "/") }
            if isCovered { Self.makeMountPoint(tree) }
            if let copy = tree.copy {
                try? Mounts.attach(copy, at: tree.destination)
                close(copy)
            } else if Self.cover(tree.destination) {
                covers.append(tree.destination)
            }
        }
        // SAFETY: the call only reads the path.
        for cover in covers { _ = unsafe clx_mount_setattr(cover, MountAttribute.readOnly, 0, 0) }
        let flags = UInt(MS_NOSUID) | UInt(MS_NODEV) | UInt(MS_NOEXEC)
        if hasProc { try? Mounts.mount("proc", at: "/proc", type: "proc", flags: flags) }
    }

    private static func makeMountPoint(_ tree: Tree) {
        if tree.isDirectory || tree.copy == nil {
            try? Files.makeDirectory(tree.destination)
        } else {
            try? Files.write(tree.destination, "")
        }
    }

    /// Hides a directory behind an empty file system.
    private static func cover(_ path: String) -> Bool {
        Files.isDirectory(path)
            && (try? Mounts.mount("tmpfs", at: path, type: "tmpfs", data: "size=64k,mode=755")) != nil
    }
}
