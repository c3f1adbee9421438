import LinuxKernel

/// Where control groups of the host are mounted (cgroups(7)): version 2's one hierarchy, or version 1's, one for each controller.
package struct Hierarchies: Sendable, Equatable {
    package struct Hierarchy: Sendable, Equatable {
        /// Mount point.
        package let path: String
        /// Empty for version 2.
        package let controllers: Set<String>
    }

    package let all: [Hierarchy]
    package var isUnified: Bool { all.first?.controllers.isEmpty ?? false }

    /// Of this process's mount namespace.
    package static var current: Hierarchies { Hierarchies((try? Files.readText("/proc/self/mountinfo")) ?? "") }

    /// - Parameter mounts: as in proc_pid_mountinfo(5). Beside version 1's hierarchies, version 2's has no controllers, and is left out.
    init(_ mounts: String) {
        var unified: [Hierarchy] = []
        var split: [Hierarchy] = []
        for line in mounts.split(separator: "\n") {
            let halves = line.split(separator: " ")
            guard let dash = halves.firstIndex(of: "-"), halves.count > dash + 3, dash > 4 else { continue }
            let path = String(halves[4])
            switch halves[dash + 1] {
            case "cgroup2": unified.append(Hierarchy(path: path, controllers: []))
            case "cgroup":
                let words = halves[dash + 3].split(separator: ",").map(String.init)
                split.append(
                    Hierarchy(
                        path: path,
                        controllers: Set(words.filter { !["rw", "ro", "xattr", "clone_children"].contains($0) })))
            default: continue
            }
        }
        all = split.isEmpty ? Array(unified.prefix(1)) : split
    }

    /// The directory of a group's files of one controller.
    package func directory(_ controller: String, _ path: String) -> String? {
        if isUnified { return all[0].path + path }
        return all.first { $0.controllers.contains(controller) }.map { $0.path + path }
    }
}
