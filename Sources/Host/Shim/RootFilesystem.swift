import Cleanup
import Glibc
import GuestSpec
import LinuxKernel
import OCISpec
import Sandbox
import ShimAPI

/// The container's root file system on the host: mounted from what the snapshotter says, or the bundle's own directory.
enum RootFilesystem {
    /// A snapshotter's disk (devmapper, blockfile): the only mount, of a block device or of an image file; nil for
    /// anything else.
    static func disk(_ mounts: [Containerd_Types_Mount]) -> DiskImage? {
        guard mounts.count == 1, let mount = mounts.first, mount.target.isEmpty,
            let image = DiskImage(mount.type, mount.source, mount.options)
        else { return nil }
        switch Files.kind(of: mount.source) {
        case .blockDevice: return image
        case .file where mount.options.contains("loop"): return image
        default: return nil
        }
    }

    /// - Parameters:
    ///   - manager: pid of the process in whose mount namespace a directory of the specification is.
    ///   - plugsDisks: whether disks are attached to the machine instead of mounted here.
    /// - Returns: what it is, and what of it is in the ledger.
    static func prepare(
        _ mounts: [Containerd_Types_Mount], bundle: String, spec: Spec, seenBy manager: Int32? = nil, ledger: Ledger,
        plugsDisks: Bool
    ) throws -> (source: RootSource, made: [Ledger.RecordID]) {
        // The guest can't map the owners of a disk's files.
        if plugsDisks, !mounts.contains(where: \.mapsOwners), let disk = disk(mounts) { return (.disk(disk), []) }
        let (path, made) = try mount(mounts, bundle: bundle, spec: spec, seenBy: manager, ledger: ledger)
        return (.directory(path), made)
    }

    private static func mount(
        _ mounts: [Containerd_Types_Mount], bundle: String, spec: Spec, seenBy manager: Int32?, ledger: Ledger
    ) throws -> (path: String, made: [Ledger.RecordID]) {
        guard !mounts.isEmpty else {
            let path = spec.root?.path ?? "rootfs"
            let rootfs = path.hasPrefix("/") ? path : bundle + "/" + path
            let seen = manager.map { "/proc/\($0)/root" + rootfs }
            guard Files.isDirectory(rootfs) || seen.map(Files.isDirectory) == true else {
                throw SandboxError(.invalid, "\(bundle)/config.json: root.path: \(rootfs) is not a directory")
            }
            return (rootfs, [])
        }
        let target = bundle + "/rootfs"
        try Files.makeDirectory(target, mode: 0o711)
        var made: [Ledger.RecordID] = []
        do {
            for mount in mounts {
                let number = try ledger.add(.mount(path: target, namespace: Mounts.namespace))
                do {
                    if mount.mapsOwners {
                        try MappedMount(mount).make(at: target, ledger)
                    } else {
                        try mount.make(at: target, mount.options)
                    }
                } catch {
                    ledger.forget(number)
                    throw error
                }
                made.append(number)
            }
        } catch {
            for number in made.reversed() { ledger.undo(number) }
            throw error
        }
        return (target, made)
    }
}

extension Containerd_Types_Mount {
    /// Mounts it at `target`.
    /// - Parameter options: instead of its own.
    /// - Throws: `SystemError` of the mount, or of the loop device.
    func make(at target: String, _ options: [String]) throws {
        let known = MountOptions(options.filter { $0 != "loop" })
        func mount(_ source: String) throws(SystemError) {
            try Mounts.mount(source, at: target, type: type, flags: known.flags, data: known.data)
        }
        if options.contains("loop") {
            try LoopDevice(source, readOnly: options.contains("ro")).use(mount)
        } else {
            try mount(source)
        }
    }
}
