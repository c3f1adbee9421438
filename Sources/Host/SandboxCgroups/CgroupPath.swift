import Cgroups

extension Cgroup {
    /// Kata's prefix of the last name of a sandbox's cgroup.
    package static let sandboxPrefix = "kata_"

    /// Kata's parent of the cgroups of sandboxes' own processes on the host.
    package static let overhead = "/kata_overhead"

    /// Name of the threaded cgroup of a machine's processors in version 2, below that of its process.
    package static let processors = "vcpus"

    /// The path of a sandbox's cgroup: beside the cgroup that a manager wants for the container. No other sandbox has
    /// it: a path that doesn't end with the sandbox's name may be that of several, such as those that Podman makes anew
    /// for one pod while the last one ends.
    /// - Parameters:
    ///   - given: `linux.cgroupsPath`: a path, or `slice:prefix:name` for systemd (runc, docs/systemd.md).
    ///   - sandbox: names the cgroup when `given` is empty.
    package static func path(_ given: String, sandbox: String) -> String {
        var names = names(given)
        guard let last = names.popLast() else { return "/vc/\(sandboxPrefix)\(sandbox)" }
        return joined(names + [sandboxPrefix + own(last, sandbox)])
    }

    /// A name with the sandbox's at its end.
    private static func own(_ name: String, _ sandbox: String) -> String {
        let suffix = name.hasSuffix(scope) ? scope : ""
        let stem = name.dropLast(suffix.utf8.count)
        return stem == sandbox || stem.hasSuffix("-" + sandbox) ? name : "\(stem)-\(sandbox)\(suffix)"
    }

    private static let scope = ".scope"

    /// The path of the cgroup that a manager wants for a container.
    /// - Parameter given: as above.
    /// - Returns: nil when it names none.
    package static func path(ofContainer given: String) -> String? {
        let names = names(given)
        return names.isEmpty ? nil : joined(names)
    }

    private static func joined(_ names: [String]) -> String { names.reduce("") { $0 + "/" + $1 } }

    private static func names(_ given: String) -> [String] {
        let parts = given.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        let full: String
        if parts.count == 3 {
            let slice = parts[0].isEmpty ? "system.slice" : parts[0]
            full = expand(slice: slice) + "/\(parts[1])-\(parts[2])" + scope
        } else {
            full = given
        }
        return full.split(separator: "/").map(String.init).filter { $0 != "." && $0 != ".." }
    }

    /// The path of a systemd slice: `a-b.slice` lies in `a.slice` (systemd.slice(5)).
    private static func expand(slice: String) -> String {
        guard slice.hasSuffix(".slice"), slice != "-.slice" else { return "" }
        var path = ""
        var name = ""
        for part in slice.dropLast(".slice".count).split(separator: "-") {
            name += (name.isEmpty ? "" : "-") + part
            path += "/\(name).slice"
        }
        return path
    }
}
