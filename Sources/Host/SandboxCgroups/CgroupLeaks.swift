import Cgroups
import Cleanup
import LinuxKernel

/// Cgroups that dead sandboxes have left.
package enum CgroupLeaks {
    /// Finds this host's leaks. Finds none in another pid namespace than the host's: cgroups in use look empty there.
    /// - Throws: `SystemError` of a ledger that can't be read.
    package static func find() throws(SystemError) -> [Leak] {
        guard ProcessNamespace.seesAllProcesses else { return [] }
        return find(in: .current, besides: Set(try Ledger.recorded(CgroupCleanup.self).map(\.path)))
    }

    /// Finds cgroups with a sandbox's name that have no process, and that no ledger names. Another runtime may have made
    /// them: it has processes there as long as it uses them.
    /// - Parameter recorded: the cgroups that ledgers name.
    package static func find(in hierarchies: Hierarchies, besides recorded: Set<String>) -> [Leak] {
        var leaks: [Leak] = []
        for path in paths(in: hierarchies) where !recorded.contains(path) {
            let directories = hierarchies.all.map { $0.path + path }.filter(Files.exists)
            guard directories.allSatisfy(isEmpty) else { continue }
            for directory in directories {
                leaks.append(
                    Leak(directory, "a cgroup without a process and without a sandbox") {
                        CgroupCleanup.remove(path, hierarchies)
                    })
            }
        }
        return leaks
    }

    /// Paths of all cgroups with a sandbox's name, as far below the root as Kubernetes' are.
    private static func paths(in hierarchies: Hierarchies) -> [String] {
        var found: Set<String> = []
        for hierarchy in hierarchies.all {
            var level = [""]
            for _ in 0..<depth {
                level = level.flatMap { path in
                    Files.list(hierarchy.path + path).map { path + "/" + $0 }
                        .filter { Files.isDirectory(hierarchy.path + $0) }
                }
                found.formUnion(level.filter(CgroupCleanup.isOurs))
            }
        }
        return found.sorted()
    }

    /// `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod<uid>.slice/<container>`, with room for a parent.
    private static let depth = 6

    private static func isEmpty(_ directory: String) -> Bool {
        [directory, directory + "/" + Cgroup.processors].allSatisfy {
            ((try? Files.readText($0 + "/cgroup.procs")) ?? "").isEmpty
        }
    }
}
