import Glibc
import Linux
import Testing

@testable import ControlGroups

@Suite("Control groups of the host")
struct ControlGroupsTests {
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
    func path(_ given: String, _ expected: String) { #expect(ControlGroup.path(given, sandbox: "s1") == expected) }

    @Test("hierarchies are found in both versions; an empty second beside the first is none")
    func hierarchies() {
        let first =
            "32 31 0:29 / /cg/cpu rw - cgroup cgroup rw,cpu,cpuacct\n37 31 0:37 / /cg/systemd rw - cgroup cgroup rw,name=systemd\n"
        let second = "38 31 0:38 / /cg/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n"
        let mixed = Hierarchies(first + second + "nonsense\n1 2 - cgroup2\n")
        #expect(mixed.all.map(\.path) == ["/cg/cpu", "/cg/systemd"] && !mixed.isUnified)
        #expect(mixed.directory("cpuacct", "/a") == "/cg/cpu/a" && mixed.directory("memory", "/a") == nil)
        let unified = Hierarchies(second)
        #expect(unified.isUnified && unified.directory("memory", "/a") == "/cg/unified/a")
        #expect(Hierarchies("").all.isEmpty)
    }

    @Test(
        "a group is made, holds a process, and goes", .enabled(if: getuid() == 0, "needs root: it makes control groups")
    )
    func life() throws {
        let name = "/kata-test-\(UInt32.random(in: 0...UInt32.max))/kata_a"
        let group = ControlGroup(name)
        let parent = String(name.dropLast("/kata_a".count))
        defer { ControlGroup(parent).remove() }
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
        // Who is still there goes to the group above.
        group.remove()
        #expect(try !place().contains(name) && place().contains(parent))
    }

    /// Version 2, wherever it is mounted; a kernel with version 1 may have it beside.
    private static let unified: Hierarchies? = {
        let lines = ((try? Files.readText("/proc/self/mountinfo")) ?? "").split(separator: "\n")
        return lines.first { $0.contains(" - cgroup2 ") }.map { Hierarchies(String($0)) }
    }()

    @Test(
        "in version 2 a group goes too whose parent takes no processes: who is still there goes further up",
        .enabled(if: getuid() == 0 && unified != nil, "needs root and a mounted cgroup2: it makes control groups"))
    func unifiedLife() throws {
        let hierarchies = try #require(Self.unified)
        let parent = "/kata-test-\(UInt32.random(in: 0...UInt32.max))"
        let group = ControlGroup(parent + "/kata_a", hierarchies)
        defer { ControlGroup(parent, hierarchies).remove() }
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
}
