import AgentAPI
import LinuxKernel
import OCISpec

/// A file system on a block device or in an image file, as a mount describes it.
package struct DiskImage: Sendable, Equatable {
    package let path: String
    package let type: String
    /// For who mounts it: without those that only say how to get at it.
    package let options: [String]

    /// File systems that live on a disk (filesystems(5)).
    private static let fileSystems = [
        "ext2", "ext3", "ext4", "xfs", "btrfs", "erofs", "squashfs", "iso9660", "vfat",
    ]

    /// Kata's word for an image file that is meant as a disk.
    private static let fileOption = "io.katacontainers.fs-opt.block_device=file"

    /// nil for any other mount.
    package init?(_ type: String, _ source: String, _ options: [String]) {
        guard Self.fileSystems.contains(type), source.hasPrefix("/") else { return nil }
        (path, self.type) = (source, type)
        self.options = options.filter { !["loop", "bind", "rbind", Self.fileOption].contains($0) }
    }
}

/// A container's root file system on the host.
package enum RootSource: Sendable, Equatable {
    case directory(String)
    /// Mounted by the guest alone.
    case disk(DiskImage)
}

extension GuestSpec {
    /// A disk of the host for a container: as a device, or with its file system mounted.
    package struct Disk: Sendable, Equatable {
        package enum Source: Sendable, Equatable {
            case number(major: Int64, minor: Int64)
            /// Of a block device or an image file.
            case path(String)
        }

        package enum Use: Sendable, Equatable {
            /// Path of the device in the container.
            case device(String)
            case fileSystem(type: String, options: [String], mountPoint: String)
        }

        package let source: Source
        package let use: Use
        package let readOnly: Bool

        init(source: Source, use: Use, readOnly: Bool) {
            (self.source, self.use, self.readOnly) = (source, use, readOnly)
        }

        /// - Parameter rules: which devices the container may use: one that may not write gets a disk that can't be written.
        init(_ device: OCISpec.Linux.Device, rules: [OCISpec.Linux.Resources.DeviceRule]) {
            let (major, minor) = (device.major ?? 0, device.minor ?? 0)
            let own = rules.filter { $0.allow && $0.type == "b" && $0.major == major && $0.minor == minor }
            self.init(
                source: .number(major: major, minor: minor), use: .device(device.path),
                readOnly: !own.isEmpty && own.allSatisfy { !($0.access ?? "rwm").mentions("w") })
        }

        /// Of a mount of a disk's or an image file's file system; nil for any other mount.
        init?(_ mount: Mount, index: Int, container: String) {
            guard let image = DiskImage(mount.type ?? "", mount.source ?? "", mount.options ?? []) else { return nil }
            self.init(image, mountPoint: GuestPaths.disk(of: container, index: index))
        }

        init(_ image: DiskImage, mountPoint: String) {
            self.init(
                source: .path(image.path),
                use: .fileSystem(type: image.type, options: image.options, mountPoint: mountPoint),
                readOnly: image.options.contains("ro"))
        }

        /// The container's mount of the file system that the guest has mounted.
        func mount(at destination: String) -> Mount? {
            guard case .fileSystem(_, _, let mountPoint) = use else { return nil }
            return Mount(
                destination: destination, type: "bind", source: mountPoint,
                options: readOnly ? ["rbind", "ro"] : ["rbind"])
        }
    }
}
