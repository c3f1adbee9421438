/// Keys of the disks that a hypervisor attaches.
extension Keys {
    package static let blockDriver = hypervisor(
        "block_device_driver", "virtio-scsi", allowed: ["virtio-scsi", "virtio-blk", "virtio-blk-pci"],
        annotation: .free("block_device_driver"),
        "How disks are attached: all to one controller, or each as a PCI device in its own root port.")
    package static let disableBlockDevices = hypervisor(
        "disable_block_device_use", false, annotation: .only(false, "disable_block_device_use"),
        "Mount a container's root file system on the host and share it, even if it is a disk that the guest could have."
    )
    package static let blockAIO = hypervisor(
        "block_device_aio", "io_uring", allowed: ["io_uring", "native", "threads"],
        annotation: .free("block_device_aio"),
        "How the hypervisor reads and writes disks; threads if the host does not support the others.")
    package static let blockCacheSet = hypervisor(
        "block_device_cache_set", false, annotation: .free("block_device_cache_set"),
        "Use block_device_cache_direct and block_device_cache_noflush instead of the hypervisor's defaults.")
    package static let blockCacheDirect = hypervisor(
        "block_device_cache_direct", false, annotation: .free("block_device_cache_direct"),
        "Bypass the host's page cache (O_DIRECT).")
    package static let blockCacheNoFlush = hypervisor(
        "block_device_cache_noflush", false, annotation: .only(false, "block_device_cache_noflush"),
        "Ignore the guest's flushes: fast, but a crash of the host may lose data.")
    package static let blockLogicalSector = hypervisor(
        "block_device_logical_sector_size", 0, in: 0...65536, annotation: .free("blk_logical_sector_size"),
        "Bytes; 0: the disk's.")
    package static let blockPhysicalSector = hypervisor(
        "block_device_physical_sector_size", 0, in: 0...65536, annotation: .free("blk_physical_sector_size"),
        "Bytes; 0: the disk's.")

    static let diskKeys: [any AnyKey] = [
        blockDriver, disableBlockDevices, blockAIO, blockCacheSet, blockCacheDirect, blockCacheNoFlush,
        blockLogicalSector, blockPhysicalSector,
    ]
}
