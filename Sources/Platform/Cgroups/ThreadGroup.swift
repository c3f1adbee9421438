import Glibc
import LinuxKernel

/// Threads of a process in another cgroup than the process itself (cgroups(7), "Thread mode").
extension Cgroup {
    /// Controllers that bind single threads.
    package static let threadControllers: Set<String> = ["cpu", "cpuacct", "cpuset"]

    /// Moves threads into the cgroup, for these controllers alone. In version 2 it must be threaded.
    /// - Throws: `SystemError` that names the file, such as ENOENT without the cgroup or ESRCH without the thread. The
    ///   threads before that one have moved then.
    package func add(threads: [Int32]) throws(SystemError) {
        for hierarchy in hierarchies.all
        where hierarchies.isUnified || !hierarchy.controllers.isDisjoint(with: Self.threadControllers) {
            let file = hierarchy.path + path + (hierarchies.isUnified ? "/cgroup.threads" : "/tasks")
            for thread in threads { try Files.write(file, "\(thread)") }
        }
    }

    /// The cgroup of this name below, of version 2, for threads of this cgroup's processes. This one may have
    /// processes.
    /// - Throws: `SystemError` when the directory can't be made, or the kernel refuses to make it threaded.
    package func makeThreaded(_ name: String) throws(SystemError) -> Cgroup {
        let group = Cgroup(path + "/" + name, hierarchies)
        for hierarchy in hierarchies.all {
            let directory = hierarchy.path + group.path
            // SAFETY: mkdir(2) only reads the path.
            if unsafe mkdir(directory, 0o755) != 0, errno != EEXIST {
                throw SystemError("make cgroup", directory, errno: errno)
            }
            try Files.write(directory + "/cgroup.type", "threaded")
            Self.enableControllers(in: hierarchy.path + path)
        }
        return group
    }
}
