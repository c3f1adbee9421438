import Glibc
import LinuxKernel
import SandboxCgroups
import TestSupport
import Testing

@testable import Cgroups

@Suite("Cgroups")
struct CgroupsTests {
    @Test(
        "a manager's path becomes the sandbox's",
        arguments: [
            ("/docker/0123", "/docker/kata_0123"), ("docker/0123", "/docker/kata_0123"), ("", "/vc/kata_0123"),
            ("../../etc/0123", "/etc/kata_0123"), ("/", "/vc/kata_0123"),
            ("/pods/libpod-0123", "/pods/kata_libpod-0123"),
            ("system.slice:docker:0123", "/system.slice/kata_docker-0123.scope"),
            (":docker:0123", "/system.slice/kata_docker-0123.scope"),
            (
                "kubepods-burstable-pod1.slice:cri:0123",
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/kata_cri-0123.scope"
            ),
        ])
    func path(_ given: String, _ expected: String) { #expect(Cgroup.path(given, sandbox: "0123") == expected) }

    @Test(
        "two sandboxes of one path have cgroups of their own, as a pod's that is made anew while its last machine ends",
        arguments: [
            ("machine.slice:libpod:infra", "/machine.slice/kata_libpod-infra", ".scope"),
            ("/libpod_parent/libpod-infra", "/libpod_parent/kata_libpod-infra", ""), ("/pod", "/kata_pod", ""),
        ])
    func ownPaths(_ given: String, _ stem: String, _ suffix: String) {
        let second = Cgroup.path(given, sandbox: "infra-2")
        #expect(second == stem + "-infra-2" + suffix)
        let others = ["infra", "infra-3"].map { Cgroup.path(given, sandbox: $0) }
        #expect(!others.contains(second) && others[0] != others[1])
        #expect(Cgroup.path("machine.slice:libpod:infra", sandbox: "infra") == "/machine.slice/kata_libpod-infra.scope")
    }

    @Test("hierarchies are found in both versions; an empty second beside the first is none")
    func hierarchies() {
        let first =
            "32 31 0:29 / /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n37 31 0:37 / /cg/systemd rw - cgroup cgroup rw,name=systemd\n"
        let second = "38 31 0:38 / /cg/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n"
        let mixed = Hierarchies(MountTable.parse(first + second + "nonsense\n1 2 - cgroup2\n"))
        #expect(mixed.all.map(\.path) == ["/cg/cpu", "/cg/systemd"] && !mixed.isUnified)
        #expect(mixed.directory("cpuacct", "/a") == "/cg/cpu/a" && mixed.directory("memory", "/a") == nil)
        let unified = Hierarchies(MountTable.parse(second))
        #expect(unified.isUnified && unified.directory("memory", "/a") == "/cg/unified/a")
        #expect(Hierarchies([]).all.isEmpty)
        // A container that shares /sys: its copies are no further hierarchies.
        let copies = "39 31 0:29 / /share/sys/cg/cpu ro - cgroup cgroup rw,cpu,cpuacct\n"
        #expect(Hierarchies(MountTable.parse(first + copies)).all.map(\.path) == ["/cg/cpu", "/cg/systemd"])
    }

    /// Mounts of cgroups that are plain directories with the files that a kernel would make.
    private struct FakeHost {
        let scratch = Scratch()
        let group: Cgroup

        /// - Parameter mounts: names of hierarchies with their mount options; "cgroup2" for version 2.
        init(_ mounts: [String], files: [String]) throws {
            let base = scratch.path
            let lines = mounts.map { name in
                let place = base + "/" + name
                return name == "cgroup2"
                    ? "1 2 0:3 / \(place) rw - cgroup2 cgroup2 rw\n"
                    : "1 2 0:3 / \(place) rw - cgroup cgroup rw,\(name)\n"
            }
            group = Cgroup("/over/kata_a", Hierarchies(MountTable.parse(lines.joined())))
            for name in mounts { try Files.makeDirectory(base + "/" + name) }
            try group.make()
            for file in files { try write(file, "max\n") }
        }

        /// - Parameter file: hierarchy and file: `memory/memory.limit_in_bytes`.
        func path(_ file: String) -> String {
            let parts = file.split(separator: "/")
            return "\(scratch.path)/\(parts[0])/over/kata_a/\(parts[1])"
        }
        func write(_ file: String, _ text: String) throws { try Files.write(path(file), text) }
        func text(_ file: String) throws -> String { try Files.readText(path(file)) }
    }

    @Test("limits are written in both versions' files")
    func limits() throws {
        let limits = Cgroup.Limits(memory: 256 << 20, tasks: 77)
        let first = try FakeHost(
            ["memory", "pids", "cpu"], files: ["memory/memory.limit_in_bytes", "pids/pids.max"])
        #expect(try first.group.set(limits) == [])
        #expect(try first.text("memory/memory.limit_in_bytes") == "268435456")
        #expect(try first.text("pids/pids.max") == "77")
        let second = try FakeHost(["cgroup2"], files: ["cgroup2/memory.max", "cgroup2/pids.max"])
        #expect(try second.group.set(limits) == [])
        #expect(try second.text("cgroup2/memory.max") == "268435456")
        #expect(try second.text("cgroup2/pids.max") == "77")
    }

    @Test("a limit that is not wanted is not written, one whose controller the host lacks is named")
    func lackingLimits() throws {
        let first = try FakeHost(["pids"], files: ["pids/pids.max"])
        #expect(try first.group.set(.init(memory: 1 << 30)) == ["memory"])
        #expect(try first.text("pids/pids.max") == "max\n")
        // In version 2 a controller that the parent cgroup doesn't enable has no files.
        let second = try FakeHost(["cgroup2"], files: [])
        #expect(try second.group.set(.init(memory: 1 << 30, tasks: 5)) == ["memory", "pids"])
        #expect(try second.group.set(.init()) == [])
    }

    @Test("threads get the cgroup's processor time in version 1, and nothing else")
    func threads() throws {
        let host = try FakeHost(["cpu,cpuacct", "memory"], files: [])
        try host.group.add(threads: [77])
        #expect(try host.text("cpu,cpuacct/tasks") == "77")
        #expect(!Files.exists(host.path("memory/tasks")))
        try host.group.add(5, without: ["cpu"])
        #expect(try host.text("memory/cgroup.procs") == "5" && !Files.exists(host.path("cpu,cpuacct/cgroup.procs")))
    }

    @Test("in version 2 threads get a cgroup below their process's, with the limits of another")
    func threadedCopy() throws {
        let host = try FakeHost(
            ["cgroup2"], files: ["cgroup2/cpuset.cpus.effective", "cgroup2/cpuset.mems.effective", "cgroup2/cpu.max"])
        try host.write("cgroup2/cpuset.cpus.effective", "0-3\n")
        try host.write("cgroup2/cpuset.mems.effective", "0\n")
        // The lowest limit counts, also one above.
        try host.write("cgroup2/cpu.max", "90000 100000\n")
        try Files.write(host.scratch.path + "/cgroup2/over/cpu.max", "20000 50000\n")
        let threads = try host.group.makeThreaded("vcpus")
        let place = host.path("cgroup2/vcpus")
        #expect(try Files.readText(place + "/cgroup.type") == "threaded")
        for file in ["cpu.max", "cpuset.cpus", "cpuset.mems"] { try Files.write(place + "/" + file, "") }
        try threads.copyProcessorLimits(of: host.group)
        #expect(try Files.readText(place + "/cpu.max") == "20000 50000")
        #expect(try Files.readText(place + "/cpuset.cpus") == "0-3" && Files.readText(place + "/cpuset.mems") == "0")
        try threads.add(threads: [77])
        #expect(try Files.readText(place + "/cgroup.threads") == "77")
    }

    @Test("the limit of memory that holds is the lowest of a cgroup and those above it")
    func presentLimits() throws {
        let first = try FakeHost(["memory"], files: [])
        #expect(first.group.memoryLimit == nil)
        try first.write("memory/memory.limit_in_bytes", "9223372036854771712\n")
        #expect(first.group.memoryLimit == nil)
        try Files.write(first.scratch.path + "/memory/over/memory.limit_in_bytes", "1048576\n")
        #expect(first.group.memoryLimit == .init(1 << 20, of: "/over"))
        let second = try FakeHost(["cgroup2"], files: ["cgroup2/memory.max", "cgroup2/pids.max"])
        #expect(second.group.memoryLimit == nil && second.group.ownTaskLimit == nil)
        try second.write("cgroup2/memory.max", "4096\n")
        try second.write("cgroup2/pids.max", "12\n")
        #expect(second.group.ownMemoryLimit == 4096 && second.group.ownTaskLimit == 12)
        #expect(second.group.parent.path == "/over")
    }

    @Test("a kill for want of memory is found in both versions' files")
    func kills() throws {
        for (mount, file) in [("memory", "memory/memory.oom_control"), ("cgroup2", "cgroup2/memory.events")] {
            let host = try FakeHost([mount], files: [])
            #expect(!host.group.hasKilledForMemory)
            try host.write(file, "under_oom 0\noom_kill 0\n")
            #expect(!host.group.hasKilledForMemory)
            try host.write(file, "under_oom 0\noom_kill 2\n")
            #expect(host.group.hasKilledForMemory)
        }
    }

    @Test("cgroups of dead sandboxes are found in each hierarchy and removed; used and foreign ones are left alone")
    func leaks() throws {
        let host = try FakeHost(["memory", "cpu"], files: [])
        let root = host.scratch.path
        for path in [
            "kata_overhead/dead", "kata_overhead/alive", "kata_overhead/theirs", "pods/kata_dead", "pods/other",
        ] {
            for mount in ["memory", "cpu"] { try Files.makeDirectory("\(root)/\(mount)/\(path)") }
        }
        // Only one hierarchy has a process: threads, say.
        try Files.write(root + "/cpu/kata_overhead/theirs/cgroup.procs", "1\n")
        let leaks = CgroupLeaks.find(
            in: host.group.hierarchies, besides: ["/kata_overhead/alive", "/over/kata_a"])
        #expect(
            leaks.map { $0.description.split(separator: ":")[0].dropFirst(root.count) } == [
                "/memory/kata_overhead/dead", "/cpu/kata_overhead/dead", "/memory/pods/kata_dead",
                "/cpu/pods/kata_dead",
            ])
        #expect(leaks.allSatisfy { $0.remove() })
        #expect(Files.exists(root + "/memory/kata_overhead/alive") && Files.exists(root + "/cpu/pods/other"))
    }

    /// Runs a shell script in a cgroup, to its end.
    private func run(_ script: String, in group: Cgroup) throws {
        let pipe = try Pipe()
        var command = Command("/bin/sh", ["-c", "read go; " + script])
        command.descriptors[0] = pipe.readEnd.raw
        let child = try ChildProcess(command)
        try group.add(child.pid)
        _ = write(pipe.writeEnd.raw, "\n", 1)
        _ = child.wait()
    }

    private func makeGroup() throws -> Cgroup {
        let group = Cgroup("/kata-test-\(UInt32.random(in: 0...UInt32.max))")
        try group.make()
        return group
    }

    @Test(
        "a process that needs more than its cgroup's limit is killed, and the cgroup counts it",
        .enabled(if: getuid() == 0 && canLimit, "needs root and the controllers memory and pids"))
    func outOfMemory() throws {
        let group = try makeGroup()
        defer { group.remove() }
        try #require(try group.set(.init(memory: 16 << 20, tasks: 8)) == [])
        try run("exec head -c 64M /dev/zero | tail | wc -c", in: group)
        #expect(group.hasKilledForMemory)
    }

    @Test(
        "a process that its cgroup's limit refuses is counted",
        .enabled(if: getuid() == 0 && canLimit, "needs root and the controllers memory and pids"))
    func refusedTasks() throws {
        let group = try makeGroup()
        defer { group.remove() }
        try #require(try group.set(.init(tasks: 1)) == [])
        #expect(!group.hasRefusedTasks)
        try run("/bin/true; exit 0", in: group)
        #expect(group.hasRefusedTasks)
    }

    @Test(
        "a watcher of a container's cgroup learns of a kill in the guest; the container's process lives on",
        .enabled(if: getuid() == 0 && canLimit, "needs root and the controllers memory and pids"))
    func notice() throws {
        let group = try makeGroup()
        defer { group.remove() }
        func sleeper() throws -> ChildProcess {
            try ChildProcess(Command("/bin/sleep", ["100"])) { child throws(SystemError) in try group.add(child.pid) }
        }
        let child = try sleeper()
        defer {
            child.signal(SIGKILL)
            _ = child.wait()
        }
        try OutOfMemoryNotice.give(besides: child.pid)
        #expect(group.hasKilledForMemory && group.ownMemoryLimit == nil && group.processes == [child.pid])
        // A cgroup that others share is left alone.
        let other = try sleeper()
        try OutOfMemoryNotice.give(besides: child.pid)
        #expect(group.processes.count == 2)
        other.signal(SIGKILL)
        _ = other.wait()
    }

    private static let canLimit = ["memory", "pids"].allSatisfy { controller in
        guard let root = Hierarchies.current.directory(controller, "/") else { return false }
        guard Hierarchies.current.isUnified else { return true }
        let controllers = (try? Files.readText(root + "/cgroup.controllers")) ?? ""
        return controllers.split(whereSeparator: \.isWhitespace).contains(Substring(controller))
    }

    @Test(
        "a cgroup is made, holds a process, and is removed",
        .enabled(if: getuid() == 0, "needs root: it makes cgroups")
    )
    func life() throws {
        let name = "/kata-test-\(UInt32.random(in: 0...UInt32.max))/kata_a"
        let group = Cgroup(name)
        let parent = String(name.dropLast("/kata_a".count))
        defer { Cgroup(parent).remove() }
        try group.make()
        let child = try ChildProcess(Command("/bin/sleep", ["100"]))
        defer {
            child.signal(SIGKILL)
            _ = child.wait()
        }
        try group.add(child.pid)
        func place() throws -> String { try Files.readText("/proc/\(child.pid)/cgroup") }
        #expect(try place().contains(name))
        try group.set(processors: "0", nodes: nil, shares: 512)
        #expect(try Files.readText("/proc/\(child.pid)/status").contains("Cpus_allowed_list:\t0\n"))
        let error = #expect(throws: SystemError.self) { try group.set(processors: "4000", nodes: nil, shares: nil) }
        #expect(error?.description.contains("set cpuset.cpus to \"4000\"") == true)
        // Remaining processes move to the parent cgroup, in version 2 to the next one that takes processes.
        group.remove()
        #expect(try !place().contains(name) && (Hierarchies.current.isUnified || place().contains(parent)))
    }

    @Test(
        "a cgroup that its last processes keep busy for a while is removed then",
        .enabled(if: getuid() == 0, "needs root: it mounts"))
    func busy() throws {
        let scratch = Scratch()
        try inOwnMounts {
            // A mount keeps a directory as busy as an exiting process does.
            let hierarchies = Hierarchies(MountTable.parse("1 2 0:1 / \(scratch.path) rw - cgroup2 cgroup2 rw\n"))
            let directory = scratch.path + "/kata_a"
            try Files.makeDirectory(directory)
            try Mounts.mount("tmpfs", at: directory, type: "tmpfs")
            try startThread("unmount") {
                usleep(700_000)
                // Detached: the removal may be looking into it.
                umount2(directory, Int32(MNT_DETACH))
            }
            Cgroup("/kata_a", hierarchies).remove()
            #expect(!Files.exists(directory))
        }
    }

    /// Version 2, wherever it is mounted; a kernel with version 1 may have it beside.
    private static let unified: Hierarchies? = {
        let mounts = (try? MountTable.read()) ?? []
        return mounts.first { $0.type == "cgroup2" }.map { Hierarchies([$0]) }
    }()

    @Test(
        "in version 2 a cgroup whose parent takes no processes is removed too: its processes move further up",
        .enabled(if: getuid() == 0 && unified != nil, "needs root and a mounted cgroup2: it makes cgroups"))
    func unifiedLife() throws {
        let hierarchies = try #require(Self.unified)
        let parent = "/kata-test-\(UInt32.random(in: 0...UInt32.max))"
        let group = Cgroup(parent + "/kata_a", hierarchies)
        defer { Cgroup(parent, hierarchies).remove() }
        try group.make()
        let child = try ChildProcess(Command("/bin/sleep", ["100"]))
        defer {
            child.signal(SIGKILL)
            _ = child.wait()
        }
        func place() throws -> String? {
            try Files.readText("/proc/\(child.pid)/cgroup").split(separator: "\n").first { $0.hasPrefix("0::") }
                .map { String($0.dropFirst(3)) }
        }
        try group.add(child.pid)
        #expect(try place()?.hasSuffix(group.path) == true)
        group.leave(child.pid)
        #expect(try place()?.hasSuffix(group.path) == false)
        try group.add(child.pid)
        group.remove()
        #expect(!Files.exists(hierarchies.all[0].path + group.path))
        #expect(try place()?.contains("kata_a") == false)
    }

    @Test(
        "a thread of a process goes to a threaded cgroup below the process's own, and both can be removed",
        .enabled(if: getuid() == 0 && unified != nil, "needs root and a mounted cgroup2: it makes cgroups"))
    func threadedLife() throws {
        let hierarchies = try #require(Self.unified)
        let group = Cgroup("/kata-test-\(UInt32.random(in: 0...UInt32.max))", hierarchies)
        defer { group.remove() }
        try group.make()
        let child = try ChildProcess(Command("/bin/sleep", ["100"]))
        defer { child.signal(SIGKILL) }
        try group.add(child.pid)
        // Twice: limits are copied again when they have changed.
        _ = try group.makeThreaded("vcpus")
        let threads = try group.makeThreaded("vcpus")
        try threads.add(threads: [child.pid])
        #expect(try Files.readText("/proc/\(child.pid)/cgroup").contains("0::\(threads.path)\n"))
        // Threads can't be moved out of there: they end first.
        child.signal(SIGKILL)
        _ = child.wait()
        threads.remove()
        group.remove()
        let root = hierarchies.all[0].path
        #expect(!Files.exists(root + threads.path) && !Files.exists(root + group.path))
    }

    @Test(
        "shares become weights as runc computes them",
        arguments: [(0, 1), (2, 1), (1024, 39), (262_144, 10_000), (.max, 10_000)])
    func weight(_ shares: UInt64, _ expected: UInt64) { #expect(CPUWeight.weight(shares: shares) == expected) }
}
