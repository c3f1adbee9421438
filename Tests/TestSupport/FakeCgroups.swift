import Cgroups
import LinuxKernel
import OCISpec

/// Cgroups of a host, of version 1, that are plain directories. The manager's one is `/pods/pod1/kata_c1-s1`.
package struct FakeCgroups: Sendable {
    private let scratch = Scratch()
    package let hierarchies: Hierarchies
    /// The part of a specification that names the manager's cgroup.
    package var linux: OCISpec.Linux {
        var linux = OCISpec.Linux()
        linux.cgroupsPath = "/pods/pod1/c1"
        return linux
    }
    private static let controllers = ["cpu", "cpuset", "memory", "pids"]

    /// - Parameter files: contents of files, by path: `memory/pods/pod1/memory.limit_in_bytes`.
    package init(_ files: [String: String] = [:]) throws {
        let base = scratch.path
        hierarchies = Hierarchies(
            MountTable.parse(
                Self.controllers.map { "1 2 0:3 / \(base)/\($0) rw - cgroup cgroup rw,\($0)\n" }.joined()))
        for controller in Self.controllers { try Files.makeDirectory("\(base)/\(controller)/pods/pod1") }
        for name in ["", "/pods", "/pods/pod1", "/pods/pod1/kata_c1-s1", "/kata_overhead", "/kata_overhead/s1"] {
            try Files.makeDirectory("\(base)/cpuset\(name)")
            try write("cpuset\(name)/cpuset.cpus", "0-7\n")
            try write("cpuset\(name)/cpuset.mems", "0\n")
        }
        for (file, text) in files { try write(file, text) }
    }

    package func write(_ file: String, _ text: String) throws { try Files.write(scratch.path + "/" + file, text) }
    /// A file's text; empty without the file.
    package func text(_ file: String) -> String { (try? Files.readText(scratch.path + "/" + file)) ?? "" }
}
