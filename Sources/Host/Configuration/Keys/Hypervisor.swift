/// Keys that any hypervisor has: what it boots, its size, its network cards, and the rights of its process.
extension Keys {
    package static let validHypervisorPaths = paths("valid_hypervisor_paths", of: "path")
    package static let validKernelPaths = paths("valid_kernel_paths", of: "kernel")
    package static let validInitrdPaths = paths("valid_initrd_paths", of: "initrd")
    package static let validImagePaths = paths("valid_image_paths", of: "image")
    package static let validFirmwarePaths = paths("valid_firmware_paths", of: "firmware")
    package static let validEntropySources = paths("valid_entropy_sources", of: "entropy_source")

    package static let path = hypervisor(
        "path", .program, "/usr/bin/qemu-system-x86_64", annotation: ("path", validHypervisorPaths),
        "The hypervisor's program.")

    // MARK: Boot

    package static let kernel = hypervisor(
        "kernel", .file, "/usr/share/kata-containers/vmlinux.container", annotation: ("kernel", validKernelPaths),
        "The guest kernel: an ELF file or a bzImage.")
    package static let kernelHash = hypervisor(
        "kernel_hash", "", annotation: .free("kernel_hash"), "SHA-512 of the kernel, in hex, checked at every start.")
    package static let initrd = hypervisor(
        "initrd", .file, "", annotation: ("initrd", validInitrdPaths), "The guest's initrd. Excludes image.")
    package static let initrdHash = hypervisor(
        "initrd_hash", "", annotation: .free("initrd_hash"), "SHA-512 of the initrd, in hex, checked at every start.")
    package static let image = hypervisor(
        "image", .file, "", annotation: ("image", validImagePaths),
        "The image of the guest's root file system. Excludes initrd.")
    package static let imageHash = hypervisor(
        "image_hash", "", annotation: .free("image_hash"), "SHA-512 of the image, in hex, checked at every start.")
    package static let rootfsType = hypervisor(
        "rootfs_type", "", allowed: ["", "ext4", "xfs", "erofs"],
        "The file system of the image; empty: detect it.")
    package static let rootfsDriver = hypervisor(
        "vm_rootfs_driver", "", allowed: ["", "virtio-pmem", "virtio-blk-pci"],
        "The device that holds the image. virtio-pmem shares its pages among all guests; empty: virtio-pmem if the "
            + "image allows it.")
    package static let disableImageNVDIMM = hypervisor(
        "disable_image_nvdimm", false, annotation: .free("disable_image_nvdimm"),
        "Attach the image as a disk (virtio-blk-pci) instead of persistent memory.")
    package static let kernelParameters = hypervisor(
        "kernel_params", "", annotation: .free("kernel_params"),
        "Parameters to add to the guest kernel's command line.")
    package static let guestModules = hypervisor(
        "guest_modules_path", .directory, "",
        "Directory with modules of guest kernels, each kernel's in a directory of its release, as /lib/modules. The "
            + "guest loads from it what its containers ask for. Empty: only what the guest's image has.")
    package static let firmware = hypervisor(
        "firmware", .file, "", annotation: ("firmware", validFirmwarePaths),
        "The firmware file, or the name of one of the hypervisor's; empty: the one that starts fastest.")
    package static let hypervisorDebug = hypervisor(
        "enable_debug", false, "Print all messages of the guest kernel on its console.")
    package static let guestHookPath = hypervisor(
        "guest_hook_path", "", annotation: .free("guest_hook_path"),
        "Directory in the guest image with programs to run for each container, in prestart, poststart and poststop.")
    package static let disableGuestSELinux = hypervisor(
        "disable_guest_selinux", true, "Don't pass SELinux labels of processes to the guest.")
    package static let guestChannel = hypervisor(
        "guest_channel", GuestChannelName.vhostUserVsock, allowed: GuestChannelName.all,
        "The vsock device between host and guest: one inside the shim, or the host kernel's.")
    package static let entropySource = hypervisor(
        "entropy_source", .device, "/dev/urandom", allowed: ["/dev/urandom", "/dev/random"],
        annotation: ("entropy_source", validEntropySources), "Source of the guest's virtio-rng device.")

    // MARK: Size

    package static let vcpus = hypervisor(
        "default_vcpus", 1.0, annotation: .free("default_vcpus"),
        "Virtual CPUs in addition to the containers' quotas; 0 or less: as many as the host has.")
    package static let maxVCPUs = hypervisor(
        "default_maxvcpus", 0, in: 0...1024, annotation: .free("default_max_vcpus"),
        "Maximum number of virtual CPUs; 0: as many as the host has.")
    package static let memory = hypervisor(
        "default_memory", 2048, in: 64...4_194_304, annotation: .free("default_memory"),
        "Memory in addition to the containers' limits, in MiB.")
    package static let maxMemory = hypervisor(
        "default_maxmemory", 0, in: 0...4_194_304, "Maximum memory, in MiB; 0: as much as the host has.")
    package static let memorySlots = hypervisor(
        "memory_slots", 10, in: 0...255, annotation: .free("memory_slots"),
        "How many times memory can be added to a running VM.")
    package static let reclaimMemory = hypervisor(
        "reclaim_guest_freed_memory", false, annotation: .free("reclaim_guest_freed_memory"),
        "Return memory that the guest frees to the host within seconds (virtio-balloon, free page reporting).")

    package static let virtioMem = hypervisor(
        "enable_virtio_mem", true, annotation: .free("enable_virtio_mem"),
        "Resize memory by a virtio-mem device; false: only add memory, by modules (pc-dimm) in memory_slots.")
    package static let rootPorts = hypervisor(
        "pcie_root_port", 4, in: 0...16, annotation: .free("pcie_root_port"),
        "PCIe root ports, each for one hot-plugged device.")

    // MARK: Network

    package static let disableVhostNet = hypervisor(
        "disable_vhost_net", false, annotation: .only(true, "disable_vhost_net"),
        "Let the hypervisor move the frames of network cards, even if the host kernel could (vhost-net).")
    package static let networkQueues = hypervisor(
        "network_queues", 0, in: 0...8, annotation: .free("network_queues"),
        "Queues of a network card; 0: as many as virtual CPUs at boot.")

    // MARK: Rights

    package static let enableAnnotations = hypervisor(
        "enable_annotations", [String](),
        "Annotations io.katacontainers.config.* that a pod may have: POSIX extended regular expressions. "
            + "One must match the whole last part of the name.")
    package static let rootless = hypervisor(
        "rootless", false, annotation: .only(true, "rootless"),
        "Run the hypervisor as an unprivileged user in the group of /dev/kvm. The user is given by the two keys of "
            + "rootless_user, or is one that no other process uses. "
            + "An image that not every user may read is then attached as a disk.")
    package static let rootlessUser = hypervisor(
        "rootless_user.uid", 0, in: 0...4_294_967_294,
        "User id of the hypervisor with rootless; 0: a different one for each sandbox.")
    package static let rootlessGroup = hypervisor(
        "rootless_user.gid", 0, in: 0...4_294_967_294,
        "Group id of the hypervisor with rootless; 0: equal to the user id.")

    static let hypervisorKeys: [any AnyKey] = [
        path, kernel, kernelHash, initrd, initrdHash, image, imageHash, rootfsType, rootfsDriver, disableImageNVDIMM,
        kernelParameters, guestModules, firmware, hypervisorDebug, guestHookPath, disableGuestSELinux, guestChannel,
        entropySource,
        vcpus, maxVCPUs, memory, maxMemory, memorySlots, reclaimMemory, virtioMem, rootPorts,
        disableVhostNet, networkQueues,
        enableAnnotations, validHypervisorPaths, validKernelPaths, validInitrdPaths, validImagePaths,
        validFirmwarePaths, validEntropySources, rootless, rootlessUser, rootlessGroup,
    ]
}
