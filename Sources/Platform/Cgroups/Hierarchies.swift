import LinuxKernel

/// The mounted cgroup hierarchies (cgroups(7)): the one of version 2, or those of version 1 with their controllers.
package struct Hierarchies: Sendable, Equatable {
    package struct Hierarchy: Sendable, Equatable {
        /// The mount point.
        package let path: String
        /// Empty in version 2.
        package let controllers: Set<String>
    }

    package let all: [Hierarchy]
    /// Whether this is version 2.
    package var isUnified: Bool { all.first?.controllers.isEmpty ?? false }

    /// The hierarchies of this process's mount namespace; none when /proc can't be read.
    package static var current: Hierarchies { Hierarchies((try? MountTable.read()) ?? []) }

    /// The hierarchies of version 1 whose figures no monitor takes for a container's use (cAdvisor's
    /// `supportedSubsystems` are the others); none in version 2.
    package var unmeasured: Hierarchies {
        Hierarchies(isUnified ? [] : all.filter { $0.controllers.isDisjoint(with: Self.measured) })
    }

    private static let measured: Set<String> = [
        "cpu", "cpuacct", "memory", "hugetlb", "pids", "cpuset", "blkio", "devices", "perf_event",
    ]

    private init(_ all: [Hierarchy]) { self.all = all }

    /// Words among a hierarchy's options that are no controllers.
    private static let otherOptions: Set<String> = ["rw", "ro", "xattr", "clone_children"]

    /// Takes the hierarchies from a table of mounts. Beside those of version 1, version 2 has no controllers and is
    /// left out. Of several mounts of a hierarchy the first one counts: later ones are copies, such as a container's
    /// share of /sys, and may be read-only.
    package init(_ mounts: [MountEntry]) {
        let unified = mounts.filter { $0.type == "cgroup2" }
            .map { Hierarchy(path: $0.mountPoint, controllers: []) }
        var seen: Set<Set<String>> = []
        let split = mounts.filter { $0.type == "cgroup" }.map {
            Hierarchy(path: $0.mountPoint, controllers: Set($0.superOptions).subtracting(Self.otherOptions))
        }.filter { seen.insert($0.controllers).inserted }
        all = split.isEmpty ? Array(unified.prefix(1)) : split
    }

    /// The directory that has the files of a controller for the cgroup at `path`.
    /// - Returns: nil when no hierarchy has the controller.
    package func directory(_ controller: String, _ path: String) -> String? {
        if isUnified { return all[0].path + path }
        return all.first { $0.controllers.contains(controller) }.map { $0.path + path }
    }
}
