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
            ("/docker/0123", "/docker/kata_0123"), ("docker/0123", "/docker/kata_0123"), ("", "/vc/kata_s1"),
            ("../../etc/x", "/etc/kata_x"), ("/", "/vc/kata_s1"),
            ("system.slice:docker:0123", "/system.slice/kata_docker-0123.scope"),
            (":docker:0123", "/system.slice/kata_docker-0123.scope"),
            (
                "kubepods-burstable-pod1.slice:cri:2",
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/kata_cri-2.scope"
            ),
        ])
    func path(_ given: String, _ expected: String) { #expect(Cgroup.path(given, sandbox: "s1") == expected) }

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

    @Test(
        "a process that needs more than its group's limit is killed, and the group tells so",
        .enabled(if: getuid() == 0 && canLimit, "needs root and the controllers memory and pids"))
    func outOfMemory() throws {
        let group = Cgroup("/kata-test-\(UInt32.random(in: 0...UInt32.max))")
        defer { group.remove() }
        try group.make()
        try #require(try group.set(.init(memory: 16 << 20, tasks: 8)) == [])
        var command = Command("/bin/sh", ["-c", "read go; exec head -c 64M /dev/zero | tail | wc -c"])
        let pipe = try Pipe()
        command.descriptors[0] = pipe.readEnd.raw
        let child = try ChildProcess(command)
        try group.add(child.pid)
        _ = write(pipe.writeEnd.raw, "\n", 1)
        _ = child.wait()
        #expect(group.hasKilledForMemory)
    }

    private static let canLimit = ["memory", "pids"].allSatisfy { controller in
        guard let root = Hierarchies.current.directory(controller, "/") else { return false }
        guard Hierarchies.current.isUnified else { return true }
        let controllers = (try? Files.readText(root + "/cgroup.controllers")) ?? ""
        return controllers.split(whereSeparator: \.isWhitespace).contains(Substring(controller))
    }

    @Test(
        "a cgroup is made, holds a process, and is removed",
        .enabled(if: getuid() == 0, "needs root: it makes control groups")
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

    /// Version 2, wherever it is mounted; a kernel with version 1 may have it beside.
    private static let unified: Hierarchies? = {
        let mounts = (try? MountTable.read()) ?? []
        return mounts.first { $0.type == "cgroup2" }.map { Hierarchies([$0]) }
    }()

    @Test(
        "in version 2 a cgroup whose parent takes no processes is removed too: its processes move further up",
        .enabled(if: getuid() == 0 && unified != nil, "needs root and a mounted cgroup2: it makes control groups"))
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
        "shares become weights as runc computes them",
        arguments: [(0, 1), (2, 1), (1024, 39), (262_144, 10_000), (.max, 10_000)])
    func weight(_ shares: UInt64, _ expected: UInt64) { #expect(CPUWeight.weight(shares: shares) == expected) }
}
