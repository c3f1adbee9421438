import LinuxKernel

/// The keys that have an effect.
package enum Keys {
    private static func qemu(
        _ name: String, _ standard: Value, allowed: [String] = [], in range: ClosedRange<Double>? = nil,
        annotation: Annotation? = nil, _ help: String
    ) -> Key {
        Key("hypervisor.qemu." + name, standard, allowed: allowed, in: range, annotation: annotation, help)
    }

    private static func qemu(
        _ name: String, _ names: HostFile, _ standard: String, allowed: [String] = [],
        annotation: (name: String, listedIn: Key)? = nil, _ help: String
    ) -> Key {
        Key("hypervisor.qemu." + name, names, standard, allowed: allowed, annotation: annotation, help)
    }

    /// Patterns for the paths of an annotation; none unless the operator gives some.
    private static func paths(_ name: String, of annotation: String) -> Key {
        qemu(
            name, .list([]),
            "Patterns of paths, without links, that the annotation \(annotation) may give (glob(7)); empty: none.")
    }

    package static let validHypervisorPaths = paths("valid_hypervisor_paths", of: "path")
    package static let validKernelPaths = paths("valid_kernel_paths", of: "kernel")
    package static let validInitrdPaths = paths("valid_initrd_paths", of: "initrd")
    package static let validImagePaths = paths("valid_image_paths", of: "image")
    package static let validFirmwarePaths = paths("valid_firmware_paths", of: "firmware")
    package static let validDaemonPaths = paths("valid_virtio_fs_daemon_paths", of: "virtio_fs_daemon")
    package static let validEntropySources = paths("valid_entropy_sources", of: "entropy_source")

    package static let path = qemu(
        "path", .program, "/usr/bin/qemu-system-x86_64", annotation: ("path", validHypervisorPaths),
        "The hypervisor to run.")
    package static let kernel = qemu(
        "kernel", .file, "/usr/share/kata-containers/vmlinux.container", annotation: ("kernel", validKernelPaths),
        "The guest's kernel: an ELF file or a bzImage."
    )
    package static let initrd = qemu(
        "initrd", .file, "", annotation: ("initrd", validInitrdPaths), "The guest's initrd. Excludes image.")
    package static let image = qemu(
        "image", .file, "", annotation: ("image", validImagePaths),
        "The guest's root file system image. Excludes initrd.")
    package static let machineType = qemu(
        "machine_type", .text("q35"), allowed: ["q35", "pc"], annotation: .free("machine_type"), "QEMU's machine type.")
    /// What switches a part of QEMU's machine on or off, and can neither name a file nor show the guest's memory.
    private static let machineWords = CommaWords(
        names: [
            "acpi", "hmat", "hpet", "i8042", "kernel-irqchip", "nvdimm", "pic", "pit", "sata", "smbus", "smm", "usb",
            "vmport",
        ], values: ["on", "off", "split", "auto"])
    package static let machineAccelerators = qemu(
        "machine_accelerators", .text(""), annotation: .words("machine_accelerators", machineWords),
        "Comma list that is added to -machine.")
    package static let kernelParameters = qemu(
        "kernel_params", .text(""), annotation: .free("kernel_params"),
        "Words that are added to the guest kernel's command line.")
    package static let firmware = qemu(
        "firmware", .file, "", annotation: ("firmware", validFirmwarePaths),
        "Firmware file, or the name of one that QEMU brings; empty: the one that starts fastest.")
    private static let processorWords = CommaWords(names: [], values: [])
    package static let cpuFeatures = qemu(
        "cpu_features", .text("pmu=off"), annotation: .words("cpu_features", processorWords),
        "Comma list that is added to -cpu.")
    package static let vcpus = qemu(
        "default_vcpus", .number(1), annotation: .free("default_vcpus"),
        "Virtual CPUs beside those of the containers' quotas; 0 or less: as many as the host has.")
    package static let maxVCPUs = qemu(
        "default_maxvcpus", .number(0), in: 0...1024, annotation: .free("default_max_vcpus"),
        "How many virtual CPUs a VM may grow to; 0: as many as the host has.")
    package static let memory = qemu(
        "default_memory", .number(2048), in: 64...4_194_304, annotation: .free("default_memory"),
        "Memory beside the containers' limits, in MiB.")
    package static let maxMemory = qemu(
        "default_maxmemory", .number(0), in: 0...4_194_304,
        "Memory that a VM may grow to, in MiB; 0: what the host has.")
    package static let memorySlots = qemu(
        "memory_slots", .number(10), in: 0...255, annotation: .free("memory_slots"),
        "How often memory can be added to a running VM.")
    package static let virtioMem = qemu(
        "enable_virtio_mem", .flag(true), annotation: .free("enable_virtio_mem"),
        "Memory is added and taken back by a virtio-mem device; false: only added, by modules (pc-dimm) in memory_slots."
    )
    package static let reclaimMemory = qemu(
        "reclaim_guest_freed_memory", .flag(false), annotation: .free("reclaim_guest_freed_memory"),
        "What the guest has freed goes back to the host within seconds (virtio-balloon, free page reporting).")
    package static let rootPorts = qemu(
        "pcie_root_port", .number(4), in: 0...16, annotation: .free("pcie_root_port"),
        "PCIe root ports, each for one device that is added later.")
    package static let seccompSandbox = qemu(
        "seccompsandbox", .text("on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
        "QEMU's -sandbox option.")
    package static let rootless = qemu(
        "rootless", .flag(false), annotation: .only(true, "rootless"),
        "QEMU runs as a user without rights, nobody else's on the host, or the one of the two keys below, and in the group of /dev/kvm. An image that not everybody may read is then a disk."
    )
    package static let rootlessUser = Key(
        "hypervisor.qemu.rootless_user.uid", .number(0), in: 0...4_294_967_294,
        "Number of the user that QEMU runs as with rootless; 0: one of its own for each sandbox.")
    package static let rootlessGroup = Key(
        "hypervisor.qemu.rootless_user.gid", .number(0), in: 0...4_294_967_294,
        "Number of its group; 0: the user's number.")
    package static let entropySource = qemu(
        "entropy_source", .device, "/dev/urandom", allowed: ["/dev/urandom", "/dev/random"],
        annotation: ("entropy_source", validEntropySources), "What feeds the guest's virtio-rng.")
    package static let sharedFS = qemu(
        "shared_fs", .text("virtio-fs"), allowed: ["virtio-fs"], annotation: .free("shared_fs"),
        "How the guest sees the container's files.")
    package static let virtioFSDaemon = qemu(
        "virtio_fs_daemon", .program, "/usr/lib/qemu/virtiofsd",
        annotation: ("virtio_fs_daemon", validDaemonPaths), "The daemon that serves the shared files.")
    package static let virtioFSCache = qemu(
        "virtio_fs_cache", .text("always"), allowed: ["none", "never", "metadata", "auto", "always"],
        annotation: .free("virtio_fs_cache"),
        "How much the guest caches of shared files; always with timeout=1 sees the host's changes within a second.")
    package static let virtioFSExtraArguments = qemu(
        "virtio_fs_extra_args", .list(["--thread-pool-size=1", "-o", "timeout=1"]),
        annotation: .daemonOptions("virtio_fs_extra_args"),
        "Further arguments of the daemon.")
    package static let virtioFSQueueSize = qemu(
        "virtio_fs_queue_size", .number(1024), in: 1...1024, "Entries in the share's queue.")
    package static let hypervisorDebug = qemu(
        "enable_debug", .flag(false), "The guest's kernel tells everything on its console.")
    package static let accelerator = qemu(
        "accelerator", .text("auto"), allowed: ["auto", "kvm", "tcg"],
        "What runs guest code; auto: KVM where it runs in hardware, else TCG.")
    package static let guestChannel = qemu(
        "guest_channel", .text("vhost-user-vsock"), allowed: ["vhost-user-vsock", "vhost-vsock"],
        "How host and guest talk: a vsock device inside the shim, or the host kernel's own.")

    package static let blockDriver = qemu(
        "block_device_driver", .text("virtio-scsi"), allowed: ["virtio-scsi", "virtio-blk", "virtio-blk-pci"],
        annotation: .free("block_device_driver"),
        "How disks are attached: all behind one controller, or each as a PCI device in a root port of its own.")
    package static let disableBlockDevices = qemu(
        "disable_block_device_use", .flag(false), annotation: .only(false, "disable_block_device_use"),
        "A container's root file system that is a disk is mounted on the host and shared; else the guest gets the disk."
    )
    package static let blockAIO = qemu(
        "block_device_aio", .text("io_uring"), allowed: ["io_uring", "native", "threads"],
        annotation: .free("block_device_aio"),
        "How QEMU reads and writes disks; threads where the host has not what is asked for.")
    package static let blockCacheSet = qemu(
        "block_device_cache_set", .flag(false), annotation: .free("block_device_cache_set"),
        "The two keys below are said to QEMU; else it has its own way.")
    package static let blockCacheDirect = qemu(
        "block_device_cache_direct", .flag(false), annotation: .free("block_device_cache_direct"),
        "Disks are read and written past the host's page cache.")
    package static let blockCacheNoFlush = qemu(
        "block_device_cache_noflush", .flag(false), annotation: .only(false, "block_device_cache_noflush"),
        "The guest's flushes of disks are ignored: fast, unsafe in a crash."
    )
    package static let blockLogicalSector = qemu(
        "block_device_logical_sector_size", .number(0), in: 0...65536, annotation: .free("blk_logical_sector_size"),
        "Bytes; 0: as the disk has it.")
    package static let blockPhysicalSector = qemu(
        "block_device_physical_sector_size", .number(0), in: 0...65536, annotation: .free("blk_physical_sector_size"),
        "Bytes; 0: as the disk has it.")

    package static let guestHookPath = Key(
        "hypervisor.qemu.guest_hook_path", .text(""),
        annotation: .free("guest_hook_path"),
        "Directory of the guest's image whose prestart, poststart and poststop directories hold programs to run for each container."
    )
    package static let disableGuestSELinux = Key(
        "hypervisor.qemu.disable_guest_selinux", .flag(true), "SELinux labels of processes stay on the host.")

    package static let kernelHash = qemu(
        "kernel_hash", .text(""), annotation: .free("kernel_hash"),
        "SHA-512 of the kernel, in hex, checked at every start.")
    package static let initrdHash = qemu(
        "initrd_hash", .text(""), annotation: .free("initrd_hash"),
        "SHA-512 of the initrd, in hex, checked at every start.")
    package static let imageHash = qemu(
        "image_hash", .text(""), annotation: .free("image_hash"),
        "SHA-512 of the image, in hex, checked at every start.")
    package static let rootfsType = qemu(
        "rootfs_type", .text(""), allowed: ["", "ext4", "xfs", "erofs"],
        "The image's file system; empty: the one that is found in it.")
    package static let rootfsDriver = qemu(
        "vm_rootfs_driver", .text(""), allowed: ["", "virtio-pmem", "virtio-blk-pci"],
        "The device that shows the image to the guest: virtio-pmem shares its pages among all guests; empty: virtio-pmem where the image allows it."
    )
    package static let disableImageNVDIMM = qemu(
        "disable_image_nvdimm", .flag(false), annotation: .free("disable_image_nvdimm"),
        "The image is a disk (virtio-blk-pci), not persistent memory.")
    package static let enableAnnotations = qemu(
        "enable_annotations", .list([]),
        "Which annotations io.katacontainers.config.* a pod may have: regular expressions (POSIX, extended) of which one must match the whole last part of the name."
    )

    package static let debugConsole = Key(
        "agent.kata.debug_console_enabled", .flag(false),
        "kata-runtime exec SANDBOX gives a shell in the guest, where its image has one.")

    package static let disableVhostNet = Key(
        "hypervisor.qemu.disable_vhost_net", .flag(false),
        annotation: .only(true, "disable_vhost_net"),
        "QEMU moves the frames of network cards, not the host's kernel, also where that could.")
    package static let networkQueues = Key(
        "hypervisor.qemu.network_queues", .number(0), in: 0...8,
        annotation: .free("network_queues"), "Queues of a network card; 0: as many as processors at boot.")

    package static let agentDebug = Key("agent.kata.enable_debug", .flag(false), "The agent logs everything.")
    package static let dialTimeout = Key(
        Deadline.announcement.key!, .number(Double(Deadline.announcement.seconds)), in: 1...3600,
        "How long a guest may take to come up, in seconds.")

    package static let runtimeDebug = Key("runtime.enable_debug", .flag(false), "The runtime logs everything.")
    package static let createTimeout = Key(
        Deadline.creation.key!, .number(Double(Deadline.creation.seconds)), in: 1...86400,
        annotation: .atMost("create_container_timeout"),
        "How long the guest may take to create a container, in seconds.")

    package static let disableGuestSeccomp = Key(
        "runtime.disable_guest_seccomp", .flag(false),
        annotation: .only(false, "disable_guest_seccomp"),
        "Containers' filters of system calls are not loaded in the guest.")

    package static let enableTemplate = Key(
        "factory.enable_template", .flag(false),
        "Machines go on from one that was booted and saved before (kata-runtime factory init), where its settings are theirs."
    )
    package static let templatePath = Key(
        "factory.template_path", .directory, "/run/vc/vm/template", "Directory of the saved machine.")
    package static let cacheNumber = Key(
        "factory.vm_cache_number", .number(0), in: 0...1024,
        "How many machines kata-runtime factory init keeps ready, each with a shim of its own; 0: none is asked for.")
    package static let cacheEndpoint = Key(
        "factory.vm_cache_endpoint", .socket, "/var/run/kata-containers/cache.sock",
        "Socket of the server that keeps them.")

    package static let sandboxGroupOnly = Key(
        "runtime.sandbox_cgroup_only", .flag(false), annotation: .only(true, "sandbox_cgroup_only"),
        "The shim and the share daemon are in the machine's control group of the host too, not below /kata_overhead.")
    package static let overheadMemory = Key(
        "runtime.overhead_memory_limit", .number(1024), in: 0...4_194_304,
        "Memory that the shim and the share daemon may use beside the guest's memory, in MiB, in a control group below /kata_overhead; 0: no limit."
    )
    package static let overheadTasks = Key(
        "runtime.overhead_pids_limit", .number(1024), in: 0...4_194_304,
        "Processes and threads that there may be in that group; 0: no limit.")
    package static let staticSizing = Key(
        "runtime.static_sandbox_resource_mgmt", .flag(false),
        "A machine keeps the size that it is booted with: what its first container, or its pod's annotations, ask for.")

    package static let internetworkingModel = Key(
        "runtime.internetworking_model", .text("tcfilter"), allowed: ["tcfilter", "macvtap", "none"],
        annotation: .free("internetworking_model"),
        "How frames get from a link of the sandbox's network namespace to the guest: filters to a tap and back, a macvtap on the link, or a tap that is left to others."
    )
    package static let disableNewNamespace = Key(
        "runtime.disable_new_netns", .flag(false),
        annotation: .free("disable_new_netns"),
        "The sandbox gets no network namespace and the guest has no network; needs internetworking_model none."
    )

    package static let all: [Key] = [
        path, kernel, kernelHash, initrd, initrdHash, image, imageHash, rootfsType, rootfsDriver, disableImageNVDIMM,
        enableAnnotations, validHypervisorPaths, validKernelPaths, validInitrdPaths, validImagePaths,
        validFirmwarePaths,
        validDaemonPaths, validEntropySources, machineType,
        machineAccelerators, kernelParameters, firmware, cpuFeatures, vcpus,
        maxVCPUs, memory,
        maxMemory, memorySlots, virtioMem, reclaimMemory, rootPorts, seccompSandbox, entropySource, sharedFS,
        virtioFSDaemon,
        virtioFSCache,
        virtioFSExtraArguments, virtioFSQueueSize, blockDriver, disableBlockDevices, blockAIO, blockCacheSet,
        blockCacheDirect,
        blockCacheNoFlush, blockLogicalSector,
        blockPhysicalSector, rootless, rootlessUser, rootlessGroup, hypervisorDebug, accelerator, guestChannel,
        guestHookPath,
        disableGuestSELinux, disableVhostNet, networkQueues, agentDebug, debugConsole, dialTimeout,
        runtimeDebug, createTimeout,
        disableGuestSeccomp, sandboxGroupOnly, overheadMemory, overheadTasks, staticSizing, internetworkingModel,
        disableNewNamespace, enableTemplate,
        templatePath, cacheNumber, cacheEndpoint,
    ]
}
