import LinuxKernel

extension Cgroup {
    /// Enables all controllers of a cgroup v2 directory for its children (cgroup.subtree_control, cgroup-v2.rst).
    ///
    /// Ignores failures, for example in a cgroup that has processes ("No Internal Process Constraint"): the limit that
    /// needs the controller reports its absence. The first call for a directory takes the kernel a while.
    /// - Parameter directory: an absolute path below the mount point of cgroup v2.
    package static func enableControllers(in directory: String) {
        func words(_ file: String) -> Set<Substring> {
            Set(((try? Files.readText(directory + "/" + file)) ?? "").split(whereSeparator: \.isWhitespace))
        }
        let control = directory + "/cgroup.subtree_control"
        let missing = words("cgroup.controllers").subtracting(words("cgroup.subtree_control")).sorted().map { "+" + $0 }
        guard !missing.isEmpty else { return }
        // One write for all is faster; one that the kernel refuses must not hinder the others.
        if (try? Files.write(control, missing.joined(separator: " "))) != nil { return }
        for controller in missing { try? Files.write(control, controller) }
    }
}
