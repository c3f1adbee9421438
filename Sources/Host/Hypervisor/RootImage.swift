import Glibc
import LinuxKernel

/// A guest's root file system in a file of the host, and the device by which the guest sees it.
package struct RootImage: Sendable, Equatable {
    package enum FileSystem: String, Sendable { case ext4, xfs, erofs }
    /// The device by which the guest sees the file; the names are those of `vm_rootfs_driver`.
    package enum Driver: String, Sendable {
        /// Persistent memory. The guest reads the host's page cache in place, which all guests share.
        case pmem = "virtio-pmem"
        case block = "virtio-blk-pci"
    }

    package var file: OpenFile
    package var bytes: Int
    package var fileSystem: FileSystem
    /// Whether it lies behind a partition table, as in Kata's own images.
    package var isPartitioned: Bool
    package var driver: Driver

    /// The unit of persistent memory, in bytes.
    static let granule = 2 << 20

    package init(
        _ file: OpenFile, bytes: Int, fileSystem: FileSystem, isPartitioned: Bool = false, driver: Driver = .pmem
    ) {
        self.file = file
        self.bytes = bytes
        self.fileSystem = fileSystem
        self.isPartitioned = isPartitioned
        self.driver = driver
    }

    package var path: String { file.path }

    /// Reads the file's first blocks.
    /// - Parameters:
    ///   - isMappable: whether the hypervisor's user may open it again; otherwise it becomes a disk.
    ///   - type: the expected file system; empty: any.
    ///   - driver: a `Driver`; empty: persistent memory where the image's size allows it.
    /// - Throws: `SystemError` for a file that is no image, or an image of another type than asked for.
    package init(_ file: OpenFile, type: String, driver: String, isMappable: Bool = true) throws(SystemError) {
        func wrong(_ reason: String) -> SystemError {
            SystemError("use the image (\(reason))", file.path, errno: EINVAL)
        }
        guard let open = file.file else { throw wrong("it is not open") }
        func read(_ count: Int, at offset: Int) -> [UInt8] {
            var bytes = [UInt8](repeating: 0, count: count)
            // SAFETY: the buffer has room for `count` bytes.
            return unsafe pread(open.raw, &bytes, count, offset) == count ? bytes : []
        }
        let bytes = file.size
        var found = Self.fileSystem { read(2048, at: $0) }
        // The first entry of a partition table: eight bytes in, the sector where it starts.
        let table = read(512, at: 0)
        isPartitioned = found == nil && table.count == 512 && table[510...] == [0x55, 0xaa]
        if isPartitioned {
            let sector = (0..<4).reduce(0) { $0 | Int(table[446 + 8 + $1]) << (8 * $1) }
            found = Self.fileSystem { read(2048, at: sector * 512 + $0) }
        }
        guard let found else { throw wrong("it holds none of the file systems ext4, xfs, erofs") }
        guard type.isEmpty || type == found.rawValue else {
            throw wrong("rootfs_type is \(type), the image holds \(found.rawValue)")
        }
        let fits = bytes % Self.granule == 0 && isMappable
        guard driver != Driver.pmem.rawValue || isMappable else {
            throw wrong(
                "with rootless, persistent memory must be readable by everybody; vm_rootfs_driver = \"virtio-blk-pci\" needs not"
            )
        }
        guard driver != Driver.pmem.rawValue || fits else {
            throw wrong(
                "persistent memory comes in 2 MiB, its size is \(bytes); vm_rootfs_driver = \"virtio-blk-pci\" takes any"
            )
        }
        self.file = file
        self.bytes = bytes
        fileSystem = found
        self.driver = Driver(rawValue: driver) ?? (fits ? .pmem : .block)
    }

    /// Detects the type by the magic numbers of superblocks.
    private static func fileSystem(_ read: (Int) -> [UInt8]) -> FileSystem? {
        let start = read(0)
        guard start.count == 2048 else { return nil }
        if start[1024..<1028] == [0xe2, 0xe1, 0xf5, 0xe0] { return .erofs }
        if start[1080..<1082] == [0x53, 0xef] { return .ext4 }
        return start[0..<4] == Array("XFSB".utf8)[...] ? .xfs : nil
    }

    // MARK: In a machine

    /// The size in the guest's address space, in MiB.
    package var memoryMiB: Int { driver == .pmem ? (bytes + Self.granule - 1) / Self.granule * 2 : 0 }

    /// Parameters for the kernel, and for systemd where that is process 1: the agent's unit and its needs.
    package func kernelParameters(debug: Bool) -> [String] {
        let device = driver == .pmem ? (isPartitioned ? "pmem0p1" : "pmem0") : (isPartitioned ? "vda1" : "vda")
        var words = ["root=/dev/\(device)"]
        if driver == .pmem { words.append(fileSystem == .xfs ? "rootflags=dax=always" : "rootflags=dax") }
        words += ["ro", "rootfstype=\(fileSystem.rawValue)", "init=/sbin/init"]
        words += [
            "systemd.unit=kata-containers.target", "systemd.mask=systemd-networkd.service",
            "systemd.mask=systemd-networkd.socket",
        ]
        return words + ["systemd.show_status=\(debug)"]
    }
}
