import AgentAPI
import LinuxKernel
import OCISpec

/// A file system on a block device or in an image file, as a mount describes it.
package struct DiskImage: Sendable, Equatable {
    package let path: String
    package let type: String
    /// Options of the mount itself, without those that only describe how to reach the disk.
    package let options: [String]

    /// File systems that live on a disk (filesystems(5)).
    private static let fileSystems = [
        "ext2", "ext3", "ext4", "xfs", "btrfs", "erofs", "squashfs", "iso9660", "vfat",
    ]

    /// Kata's mount option for an image file that becomes a disk.
    private static let fileOption = "io.katacontainers.fs-opt.block_device=file"

    /// Reads a mount; nil when it is no file system on a disk.
    package init?(_ type: String, _ source: String, _ options: [String]) {
        guard Self.fileSystems.contains(type), source.hasPrefix("/") else { return nil }
        (path, self.type) = (source, type)
        self.options = options.filter { !["loop", "bind", "rbind", Self.fileOption].contains($0) }
    }
}

/// A container's root file system on the host.
package enum RootSource: Sendable, Equatable {
    case directory(String)
    /// Whether only the guest mounts it.
    case disk(DiskImage)
}

extension GuestSpec {
    /// A disk of the host for a container: as a device, or as a mounted file system.
    package struct Disk: Sendable, Equatable {
        package enum Source: Sendable, Equatable {
            case number(major: Int64, minor: Int64)
            /// Path of the block device or image file.
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

        /// - Parameter rules: the container's device rules: without permission to write, the disk is read-only.
        init(_ device: OCISpec.Linux.Device, rules: [OCISpec.Linux.Resources.DeviceRule]) {
            let (major, minor) = (device.major ?? 0, device.minor ?? 0)
            let own = rules.filter { $0.allow && $0.type == "b" && $0.major == major && $0.minor == minor }
            self.init(
                source: .number(major: major, minor: minor), use: .device(device.path),
                readOnly: !own.isEmpty && own.allSatisfy { !($0.access ?? "rwm").mentions("w") })
        }

        /// Finds the disk of a mount, on a block device or in an image file; nil for any other mount.
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
