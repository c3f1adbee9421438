import CLinux
import Glibc
import LinuxKernel

/// A container's directory below /sys/fs/cgroup (cgroup v2).
package struct Cgroup: Sendable {
    package static let root = "/sys/fs/cgroup"
    package let path: String

    /// - Parameter relative: as in `ContainerPlan.cgroup`.
    package init(_ relative: String) { path = Self.root + "/" + relative }

    /// Makes the directory, with every controller passed down to it, and sets the limits.
    package func create(_ limits: [ContainerPlan.Setting]) throws {
        var parent = Self.root
        for name in path.dropFirst(Self.root.count + 1).split(separator: "/") {
            Self.passDown(parent)
            parent += "/" + name
            try Files.makeDirectory(parent, mode: 0o755)
        }
        try apply(limits)
    }

    /// Lets the groups below have every controller. The first time the kernel takes a while for it: the agent does the root's early.
    package static func passDown(_ path: String = root) {
        func words(_ file: String) -> Set<Substring> {
            Set(((try? Files.readText(path + "/" + file)) ?? "").split(whereSeparator: \.isWhitespace))
        }
        let missing = words("cgroup.controllers").subtracting(words("cgroup.subtree_control"))
        guard !missing.isEmpty else { return }
        // A controller that can't be passed down is missed by the limit that needs it, which says so.
        try? Files.write(
            path + "/cgroup.subtree_control", missing.sorted().map { "+" + $0 }.joined(separator: " "))
    }

    package func apply(_ limits: [ContainerPlan.Setting]) throws(SystemError) {
        for limit in limits {
            guard Files.exists(path + "/" + limit.path) else {
                if limit.optional { continue }
                throw SystemError("set \(limit.path) (the guest's kernel lacks its controller) of", path, errno: ENOENT)
            }
            do { try Files.write(path + "/" + limit.path, limit.value) } catch {
                throw SystemError("set \(limit.path) to \"\(limit.value)\" of", path, errno: error.code)
            }
        }
    }

    package func apply(_ filter: DeviceFilter) throws(SystemError) {
        guard !filter.isOpen else { return }
        let directory = try FileDescriptor.open(path, O_RDONLY | O_DIRECTORY)
        let program = filter.program
        try checkNegativeErrno(
            "attach device rules to", path, clx_attach_device_filter(directory.raw, program, program.count))
    }

    /// Where a further process of the container may be. A container that has handed its controllers on to groups of its own (systemd does)
    /// holds no process itself any more (cgroups(7), "no internal processes"): then where its first process went.
    package func cgroupForExec(of first: Int32) -> Cgroup {
        guard !text("cgroup.subtree_control").allSatisfy(\.isWhitespace) else { return self }
        let line = ((try? Files.readText("/proc/\(first)/cgroup")) ?? "").split(separator: "\n").first {
            $0.hasPrefix("0::/")
        }
        let own = path.dropFirst(Self.root.count + 1)
        guard let place = line?.dropFirst(4), place.hasPrefix(own) else { return self }
        return Cgroup(String(place))
    }

    package func freeze(_ frozen: Bool) throws(SystemError) {
        try Files.write(path + "/cgroup.freeze", frozen ? "1" : "0")
    }

    package func killAll() throws(SystemError) { try Files.write(path + "/cgroup.kill", "1") }

    /// Of this group and the groups below it, which the container may have made.
    package var allProcesses: [Int32] {
        ([path] + groupsBelow).flatMap { group in
            ((try? Files.readText(group + "/cgroup.procs")) ?? "").split(separator: "\n").compactMap { Int32($0) }
        }
    }

    /// Groups that the container has made, however deep, each before those below it.
    var groupsBelow: [String] {
        var found: [String] = []
        var next: String? = path
        var looked = 0
        while let group = next {
            found += Files.list(group).map { group + "/" + $0 }.filter(Files.isDirectory)
            next = looked < found.count ? found[looked] : nil
            looked += 1
        }
        return found
    }

    /// Removes the directory once its last process is gone; a process that takes its time gets `limit`.
    package func remove(within milliseconds: Int = 1000) {
        for _ in 0..<(milliseconds / 10) {
            for group in groupsBelow.reversed() { rmdir(group) }
            if rmdir(path) == 0 || errno == ENOENT { return }
            usleep(10_000)
        }
    }

    /// A file as it stands; empty when it is missing.
    package func text(_ file: String) -> String { (try? Files.readText(path + "/" + file)) ?? "" }

    /// A file of one number; "max" and missing files are nil.
    package func number(_ file: String) -> UInt64? {
        guard let text = try? Files.readText(path + "/" + file) else { return nil }
        return UInt64(String(text.filter { !$0.isWhitespace }))
    }

    /// In microseconds of a period; nil without a limit.
    package var quota: Int64? { text("cpu.max").split(separator: " ").first.flatMap { Int64($0) } }

    /// A file of `key value` lines.
    package func table(_ file: String) -> [String: UInt64] {
        var result: [String: UInt64] = [:]
        for line in text(file).split(separator: "\n") {
            let parts = line.split(separator: " ")
            if parts.count == 2 { result[String(parts[0])] = UInt64(parts[1]) }
        }
        return result
    }
}
