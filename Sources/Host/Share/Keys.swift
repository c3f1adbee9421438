import Configuration

/// Keys of the files that host and guest share, and of virtiofsd.
extension Keys {
    package static let sharedFS = hypervisor(
        "shared_fs", "virtio-fs", allowed: ["virtio-fs"], annotation: .free("shared_fs"),
        "How the guest sees the container's files.")
    package static let validDaemonPaths = paths("valid_virtio_fs_daemon_paths", of: "virtio_fs_daemon")
    package static let virtioFSDaemon = hypervisor(
        "virtio_fs_daemon", .program, "/usr/lib/qemu/virtiofsd", annotation: ("virtio_fs_daemon", validDaemonPaths),
        "The daemon that serves the shared files.")
    package static let virtioFSCache = hypervisor(
        "virtio_fs_cache", "always", allowed: ["none", "never", "metadata", "auto", "always"],
        annotation: .free("virtio_fs_cache"),
        "How much the guest caches of shared files; always with timeout=1 sees the host's changes within a second.")
    package static let virtioFSExtraArguments = hypervisor(
        "virtio_fs_extra_args", ["--thread-pool-size=1", "-o", "timeout=1,announce_submounts"],
        annotation: .arguments("virtio_fs_extra_args", DaemonOptions.rule),
        "Further arguments of the daemon. With announce_submounts each mounted directory has its own device number.")
    package static let virtioFSQueueSize = hypervisor(
        "virtio_fs_queue_size", 1024, in: 1...1024, "Entries in the queue of the virtio-fs device.")
}

extension VirtioFS {
    /// The keys of files that host and guest share.
    package static let keys: [any AnyKey] = [
        Keys.sharedFS, Keys.virtioFSDaemon, Keys.validDaemonPaths, Keys.virtioFSCache, Keys.virtioFSExtraArguments,
        Keys.virtioFSQueueSize,
    ]
}
