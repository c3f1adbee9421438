import Glibc
import Ledger
import Linux
import OCISpec
import Sandbox
import ShimAPI

/// The container's root file system on the host: mounted from what the snapshotter says, or the bundle's own directory.
enum RootFilesystem {
    /// - Returns: its path, and what of it is in the ledger.
    static func mount(_ mounts: [Containerd_Types_Mount], bundle: String, spec: Spec, ledger: Ledger) throws
        -> (path: String, made: [Ledger.Number])
    {
        guard !mounts.isEmpty else {
            let path = spec.root?.path ?? "rootfs"
            let rootfs = path.hasPrefix("/") ? path : bundle + "/" + path
            guard Files.isDirectory(rootfs) else {
                throw SandboxError(.invalid, "\(bundle)/config.json: root.path: \(rootfs) is not a directory")
            }
            return (rootfs, [])
        }
        let target = bundle + "/rootfs"
        try Files.makeDirectory(target, mode: 0o711)
        var made: [Ledger.Number] = []
        do {
            for mount in mounts {
                let options = MountOptions(mount.options)
                let number = try ledger.add(.mount(path: target, namespace: Mounts.namespace))
                do {
                    try Mounts.mount(
                        mount.source, at: target, type: mount.type, flags: options.flags, data: options.data)
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
