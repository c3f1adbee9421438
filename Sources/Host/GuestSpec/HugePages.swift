import LinuxKernel
import OCISpec

extension Mount {
    /// The mount in the guest for a volume of huge pages, which kubelet mounts on the host (emptyDir of medium
    /// HugePages); nil for any other mount. Each container has the volume for itself.
    /// - Parameter table: reads the host's mounts.
    func hugePages(_ table: () -> [MountEntry]) -> Mount? {
        guard isBind, let source, source.mentions("/kubernetes.io~empty-dir/"),
            let found = table().last(where: { $0.mountPoint == source }), found.type == "hugetlbfs"
        else { return nil }
        let size = found.superOptions.filter { $0.hasPrefix("pagesize=") }
        let kept = (options ?? []).filter { !Self.ofBinds.contains($0) }
        return Mount(destination: destination, type: "hugetlbfs", source: "nodev", options: kept + size)
    }

    /// Options that only binds have.
    private static let ofBinds: Set = [
        "bind", "rbind", "private", "rprivate", "slave", "rslave", "shared", "rshared", "rro",
    ]
}
