import CLinux
import Cgroups
import Glibc
import LinuxKernel

/// A cgroup v2 directory of a container.
package struct Cgroup: Sendable {
    package static let root = "/sys/fs/cgroup"
    package let path: String
    private let root: String

    /// - Parameters:
    ///   - relative: as in `ContainerPlan.cgroup`.
    ///   - root: where cgroup v2 is mounted; tests have another directory.
    package init(_ relative: String, root: String = Cgroup.root) {
        path = root + "/" + relative
        self.root = root
    }

    // MARK: Creation and removal

    /// Makes the directory, passes every controller down to it, and sets the limits.
    /// - Throws: `SystemError` that names the file.
    package func create(_ limits: [ContainerPlan.Setting]) throws {
        var parent = root
        for name in path.dropFirst(root.utf8.count + 1).split(separator: "/") {
            Self.passDown(parent)
            parent += "/" + name
            try Files.makeDirectory(parent, mode: 0o755)
        }
        try apply(limits)
    }

    /// Enables every controller for the cgroups below `path`. The agent calls it early for the root, as the first call
    /// takes long.
    package static func passDown(_ path: String = root) {
        Cgroups.Cgroup.enableControllers(in: path)
    }

    /// Sets limits in their order. Skips an optional one whose file is missing.
    /// - Throws: `SystemError` that names the file and the cgroup: ENOENT when the file is missing, or the kernel's
    ///   errno for the value. The limits before it are set then.
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

    /// Sets limits of the pod's cgroup, which is the one above. A container without a pod has none: its cgroup is
    /// below the root.
    /// - Throws: as `apply` with limits.
    package func applyToPod(_ limits: [ContainerPlan.Setting]) throws(SystemError) {
        let parent = Files.parent(of: path)
        guard parent.utf8.count > root.utf8.count else { return }
        try Cgroup(String(parent.dropFirst(root.utf8.count + 1)), root: root).apply(limits)
    }

    /// Attaches the device rules as a program of the kernel.
    /// - Throws: `SystemError` when the directory can't be opened, or the kernel refuses to load or attach the program.
    package func apply(_ filter: DeviceFilter) throws(SystemError) {
        guard !filter.isOpen else { return }
        let directory = try FileDescriptor.open(path, O_RDONLY | O_DIRECTORY)
        let program = filter.program
        // SAFETY: the call reads as many instructions, of eight bytes each, as the array has.
        try unsafe checkNegativeErrno(
            "attach device rules to", path, clx_attach_device_filter(directory.raw, program, program.count))
    }

    /// Removes the directory once its last process has gone. Blocks, at most for `limit`; then the directory stays.
    package func remove(within limit: Duration = Deadline.cgroupRemoval.limit) {
        let deadline = ContinuousClock.now + limit
        let events = try? FileDescriptor.open(path + "/cgroup.events", O_RDONLY)
        while true {
            // Read before the attempt: from then on the kernel signals each change.
            if let events = events.raw {
                // SAFETY: pread(2) writes at most `$0.count` bytes, and returns how many.
                _ = unsafe readBytes(upTo: 256) { unsafe pread(events, $0.baseAddress, $0.count, 0) }
            }
            // SAFETY: rmdir(2) only reads the path.
            for group in ((try? groupsBelow) ?? []).reversed() { unsafe rmdir(group) }
            if unsafe rmdir(path) == 0 || errno == ENOENT { return }
            // It changes when the last process has gone (cgroup-v2.rst, "Basic Operations").
            guard let events = events.raw, isReady(events, for: POLLPRI, by: deadline) else { return }
        }
    }

    // MARK: Processes

    /// The cgroup for a further process of the container.
    ///
    /// A container that has passed its controllers down (systemd does) holds no process itself any more (cgroups(7),
    /// "no internal processes"). Then the process joins the cgroup of the container's first process.
    package func cgroupForExec(of first: Int32) -> Cgroup {
        guard !text("cgroup.subtree_control").allSatisfy(\.isWhitespace) else { return self }
        let unified = "0::/"
        let line = ((try? Files.readText("/proc/\(first)/cgroup")) ?? "").split(separator: "\n").first {
            $0.hasPrefix(unified)
        }
        let own = path.dropFirst(root.utf8.count + 1)
        guard let place = line?.dropFirst(unified.utf8.count), place.hasPrefix(own) else { return self }
        return Cgroup(String(place), root: root)
    }

    /// Asks the kernel to freeze or thaw the processes of this cgroup and of those below it. Doesn't wait until that is
    /// done (cgroup-v2.rst, "cgroup.freeze").
    /// - Throws: `SystemError` when cgroup.freeze can't be written, such as ENOENT without the cgroup.
    package func freeze(_ frozen: Bool) throws(SystemError) {
        try Files.write(path + "/cgroup.freeze", frozen ? "1" : "0")
    }

    /// Kills all processes of this cgroup and of those below it.
    /// - Throws: `SystemError` when cgroup.kill can't be written, such as ENOENT without the cgroup; as `allProcesses`.
    package func killAll() throws(SystemError) {
        let kill = path + "/cgroup.kill"
        // Linux has the file since 5.14.
        if Files.exists(kill) || !Files.isDirectory(path) { try Files.write(kill, "1") } else { try killEach() }
    }

    /// Kills the processes one by one. A fork may escape a look at the list, so it looks again until the list is empty.
    private func killEach() throws(SystemError) {
        for _ in 0..<Self.maxLooks {
            let processes = try allProcesses
            for process in processes { kill(process, SIGKILL) }
            if processes.isEmpty { return }
        }
    }

    /// The maximum of looks at the list of processes. A killed process stays on it until it has ended.
    private static let maxLooks = 1000

    /// Kills the processes of a session (credentials(7)) one by one, those that they start meanwhile too. A process that
    /// has begun a session of its own goes on.
    /// - Throws: as `allProcesses`.
    package func killAll(ofSession session: Int32) throws(SystemError) {
        let deadline = ContinuousClock.now + Deadline.sessionEnd.limit
        var killed: Set<Int32> = []
        while .now < deadline {
            let found = try allProcesses.filter { !killed.contains($0) && Self.end($0, ifIn: session) }
            if found.isEmpty { return }
            killed.formUnion(found)
        }
    }

    /// Kills a process if it belongs to a session.
    /// - Returns: whether it does.
    private static func end(_ process: Int32, ifIn session: Int32) -> Bool {
        let raw = clx_pidfd_open(process)
        guard raw >= 0 else { return false }
        // Holds the number: the check is about the process that is killed.
        let descriptor = FileDescriptor(owning: raw)
        guard (try? ProcessStatistics.find(process))?.session == session else { return false }
        _ = clx_pidfd_send_signal(descriptor.raw, SIGKILL)
        return true
    }

    /// Pids of this cgroup and of those below it, which the container may have made.
    /// - Throws: `SystemError` for lack of a descriptor or memory. A cgroup that is removed meanwhile has none.
    package var allProcesses: [Int32] {
        get throws(SystemError) {
            var pids: [Int32] = []
            for group in [path] + (try groupsBelow) {
                // The list of a threaded cgroup can not be read (EOPNOTSUPP): its processes are on that of its domain.
                let text = try Files.find(group + "/cgroup.procs").map { String(decoding: $0, as: UTF8.self) } ?? ""
                pids += text.split(separator: "\n").compactMap { Int32($0) }
            }
            return pids
        }
    }

    /// Paths of all cgroups below, each before those below it.
    /// - Throws: `SystemError` for a directory that can't be listed.
    var groupsBelow: [String] {
        get throws(SystemError) {
            var found: [String] = []
            var next: String? = path
            var looked = 0
            while let group = next {
                found += try Files.names(ifPresent: group).map { group + "/" + $0 }.filter(Files.isDirectory)
                next = looked < found.count ? found[looked] : nil
                looked += 1
            }
            return found
        }
    }

    // MARK: Files

    /// A file's text; empty when the file is missing.
    package func text(_ file: String) -> String { (try? Files.readText(path + "/" + file)) ?? "" }

    /// A file of one number; nil for "max" and for a missing file.
    package func number(_ file: String) -> UInt64? {
        guard let text = try? Files.readText(path + "/" + file) else { return nil }
        return UInt64(String(text.filter { !$0.isWhitespace }))
    }

    /// The CPU quota in microseconds a period; nil without a limit.
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
