import Glibc
import Linux
import OCISpec
import Sandbox
import ShimAPI

/// The container's root file system on the host: mounted from what the snapshotter says, or the bundle's own directory.
enum RootFilesystem {
    static func mount(_ mounts: [Containerd_Types_Mount], bundle: String, spec: Spec) throws -> String {
        guard !mounts.isEmpty else {
            let path = spec.root?.path ?? "rootfs"
            let rootfs = path.hasPrefix("/") ? path : bundle + "/" + path
            guard Files.isDirectory(rootfs) else {
                throw SandboxError(.invalid, "\(bundle)/config.json: root.path: \(rootfs) is not a directory")
            }
            return rootfs
        }
        let target = bundle + "/rootfs"
        try Files.makeDirectory(target, mode: 0o711)
        for mount in mounts {
            let options = MountOptions(mount.options)
            try Mounts.mount(
                mount.source, at: target, type: mount.type, flags: options.flags, data: options.data)
        }
        return target
    }

    static func unmount(bundle: String) { Mounts.detach(bundle + "/rootfs") }
}
