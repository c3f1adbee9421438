import Glibc
import Hypervisor
import LinuxKernel
import OCISpec
import Pod
import TestSupport
import Testing

@testable import OCISpec
@testable import Sandbox

/// A sandbox in its host's cgroups, which are plain directories here.
@Suite("A sandbox's cgroups on the host", .timeLimit(.minutes(5)))
struct HostCgroupsTests {
    private func resources(_ json: String) throws -> OCISpec.Linux.Resources {
        try OCISpec.Linux.Resources.decode(json: Array(json.utf8), source: "resources")
    }

    @Test("memory is charged to the overhead cgroup, which has a limit; the manager's gets processor time at the start")
    func apart() async throws {
        let groups = try FakeCgroups()
        let (fakes, _) = try await FakeSandbox.ready(cgroups: groups)
        fakes.hypervisor.machines[0].run(on: [77])
        try await fakes.create("c1")
        #expect(groups.text("memory/kata_overhead/s1/cgroup.procs") == "\(getpid())")
        // The container's own process on the host is there, and nothing else.
        let placeholder = await fakes.sandbox.pid(of: "c1")
        #expect(groups.text("memory/pods/pod1/kata_c1-s1/cgroup.procs") == "\(placeholder)")
        #expect(groups.text("cpu/pods/pod1/kata_c1-s1/tasks").isEmpty)
        try await fakes.sandbox.start(container: "c1")
        try await eventually { groups.text("cpuset/pods/pod1/kata_c1-s1/tasks") == "77" }
        #expect(groups.text("cpu/pods/pod1/kata_c1-s1/tasks") == "77")
        #expect(groups.text("memory/pods/pod1/kata_c1-s1/tasks").isEmpty)
        await fakes.sandbox.stop()
    }

    @Test("with sandbox_cgroup_only everything is in the manager's cgroup, its quota from the first start on")
    func together() async throws {
        let groups = try FakeCgroups()
        let toml = "[runtime]\nsandbox_cgroup_only = true\n"
        let (fakes, _) = try await FakeSandbox.ready(toml: toml, cgroups: groups)
        #expect(groups.text("memory/pods/pod1/kata_c1-s1/cgroup.procs") == "\(getpid())")
        #expect(groups.text("cpu/pods/pod1/kata_c1-s1/cgroup.procs").isEmpty)
        try await fakes.create("c1")
        try await fakes.sandbox.start(container: "c1")
        // The container's own process is there from its creation on, the machine's from the start on.
        let placeholder = await fakes.sandbox.pid(of: "c1")
        try await eventually {
            let last = groups.text("cpu/pods/pod1/kata_c1-s1/cgroup.procs")
            return !last.isEmpty && last != "\(placeholder)"
        }
        await fakes.sandbox.stop()
    }

    @Test("processors that are added later get the manager's processor time too")
    func hotPlug() async throws {
        let groups = try FakeCgroups()
        let (fakes, _) = try await FakeSandbox.ready(cgroups: groups)
        try await fakes.create("c1")
        try await fakes.sandbox.start(container: "c1")
        fakes.hypervisor.machines[0].run(on: [88])
        try await fakes.sandbox.update(container: "c1", resources: resources(#"{"cpu": {"quota": 200000}}"#))
        try await eventually { groups.text("cpu/pods/pod1/kata_c1-s1/tasks") == "88" }
        await fakes.sandbox.stop()
    }

    @Test("the machine has the processors of all its containers together, and follows changes")
    func processorSets() async throws {
        let groups = try FakeCgroups()
        let (fakes, guest) = try await FakeSandbox.ready(cgroups: groups)
        var set: String { groups.text("cpuset/pods/pod1/kata_c1-s1/cpuset.cpus") }
        try await fakes.create("pause")
        #expect(set == "0-7\n")
        try await fakes.create("c1") { $0.linux?.resources = try? resources(#"{"cpu": {"cpus": "2-3"}}"#) }
        #expect(set == "2,3")
        try await fakes.create("c2") { $0.linux?.resources = try? resources(#"{"cpu": {"cpus": "5"}}"#) }
        #expect(set == "2,3,5")
        try await fakes.sandbox.update(container: "c1", resources: resources(#"{"cpu": {"cpus": "0"}}"#))
        #expect(set == "0,5")
        for container in ["c1", "c2"] {
            try await fakes.sandbox.start(container: container)
            guest.end(container, status: 0)
            _ = try await fakes.sandbox.wait(container: container)
            _ = try await fakes.sandbox.delete(container: container)
        }
        #expect(set == "0-7\n")
        await fakes.sandbox.stop()
    }

    // MARK: Pods

    @Test("the pod's limit bounds the machine for containers that have more together")
    func podMemory() async throws {
        let (fakes, _) = try await FakeSandbox.ready(
            toml: "[hypervisor.qemu]\ndefault_memory = 1000\n", pod: PodLimits(memory: 512 << 20))
        try await fakes.create("pause")
        for (container, mebibytes) in [("a", 512), ("b", 512), ("c", 64)] {
            try await fakes.create(container) {
                $0.linux?.resources = try? resources(#"{"memory": {"limit": \#(mebibytes << 20)}}"#)
            }
        }
        #expect(fakes.hypervisor.machines[0].size.memoryMiB == 1512)
        // A pod whose limit is its containers' sum grows with them.
        try await fakes.sandbox.update(container: "c", resources: resources(#"{"memory": {"limit": \#(164 << 20)}}"#))
        #expect(fakes.hypervisor.machines[0].size.memoryMiB == 1612)
        await fakes.sandbox.stop()
    }

    @Test("the pod's limits on the host hold for its containers together in the guest, and follow changes")
    func podGroup() async throws {
        let (memory, pids) = ("memory/pods/pod1/memory.limit_in_bytes", "pids/pods/pod1/pids.max")
        // 100 MiB more than the containers have: the RuntimeClass's overhead.
        let groups = try FakeCgroups([memory: "\(612 << 20)\n", pids: "64\n"])
        let (fakes, guest) = try await FakeSandbox.ready(pod: PodLimits(memory: 512 << 20), cgroups: groups)
        try await fakes.create("c1")
        #expect(guest.podLimits.map(\.memory) == [512 << 20] && guest.podLimits.map(\.pids) == [64])
        try groups.write(memory, "\(712 << 20)\n")
        try await fakes.sandbox.update(container: "c1", resources: resources(#"{"memory": {"limit": 1048576}}"#))
        #expect(guest.podLimits.last?.memory == 612 << 20)
        await fakes.sandbox.stop()
    }

    @Test("a cgroup without limits gives the guest none, and neither does one of no pod")
    func noLimits() async throws {
        for pod in [PodLimits(memory: 1 << 20), nil] {
            let groups = try FakeCgroups(
                pod == nil ? ["pids/pods/pod1/pids.max": "64\n"] : ["pids/pods/pod1/pids.max": "max\n"])
            let (fakes, guest) = try await FakeSandbox.ready(pod: pod, cgroups: groups)
            try await fakes.create("c1")
            #expect(guest.podLimits.isEmpty)
            await fakes.sandbox.stop()
        }
    }

    // MARK: sandbox_cgroup_only

    private static let together = "[runtime]\nsandbox_cgroup_only = true\n[hypervisor.qemu]\ndefault_memory = 2048\n"
    private static let limit = "memory/pods/pod1/memory.limit_in_bytes"

    @Test("the machine is made to fit in the limit of the cgroup that holds it, and grows with it")
    func fitting() async throws {
        let groups = try FakeCgroups([Self.limit: "\(400 << 20)\n"])
        let (fakes, _) = try await FakeSandbox.ready(toml: Self.together, cgroups: groups)
        let machine = fakes.hypervisor.machines[0]
        let need = fakes.plan.need
        #expect(machine.size.memoryMiB == 400 - need.hostMiB)
        try await fakes.create("c1")
        try groups.write(Self.limit, "\(500 << 20)\n")
        try await fakes.sandbox.update(container: "c1", resources: resources(#"{"memory": {"limit": 104857600}}"#))
        #expect(machine.size.memoryMiB == 500 - need.hostMiB)
        await fakes.sandbox.stop()
    }

    @Test("containers that don't fit in the cgroup beside the machine are refused: the line says what is missing")
    func refused() async throws {
        let groups = try FakeCgroups([Self.limit: "\(200 << 20)\n"])
        let (fakes, _) = try await FakeSandbox.ready(toml: Self.together, cgroups: groups)
        let need = fakes.plan.need
        let error = await #expect(throws: SandboxError.self) {
            try await fakes.create("c1") { $0.linux?.resources = try? resources(#"{"memory": {"limit": 104857600}}"#) }
        }
        let words =
            "cgroup /pods/pod1, 200 MiB, lacks \(100 + need.totalMiB - 200) MiB: with sandbox_cgroup_only it holds 100 MiB"
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
        #expect(
            error?.description.contains("overhead.podFixed.memory of the RuntimeClass to \(need.totalMiB)Mi") == true)
        await fakes.sandbox.stop()
    }

    // MARK: Ends

    @Test("a container that the guest's kernel has killed in for lack of memory has ended so, once")
    func guestOutOfMemory() async throws {
        let (fakes, guest) = try await FakeSandbox.ready()
        for (container, isOut) in [("c1", true), ("c2", false), ("c1", true)] {
            try await fakes.create(container)
            try await fakes.sandbox.start(container: container)
            guest.end(container, status: 137, outOfMemory: isOut)
            #expect(try await fakes.sandbox.wait(container: container).isOutOfMemory == isOut)
            _ = try await fakes.sandbox.delete(container: container)
        }
        await fakes.sandbox.stop()
    }

    @Test("a machine that the host kills for lack of memory says in which cgroup")
    func outOfMemory() async throws {
        let groups = try FakeCgroups()
        let (fakes, _) = try await FakeSandbox.ready(cgroups: groups)
        try await fakes.create("c1")
        try await fakes.sandbox.start(container: "c1")
        try groups.write("memory/kata_overhead/s1/memory.oom_control", "under_oom 0\noom_kill 1\n")
        fakes.hypervisor.machines[0].end(.signalled(SIGKILL))
        #expect(try await fakes.sandbox.wait(container: "c1").isOutOfMemory)
        let error = await #expect(throws: SandboxError.self) {
            try await fakes.sandbox.addExec(
                container: "c1", exec: "e", process: .init(args: ["true"]), streams: .init())
        }
        let words = "/kata_overhead/s1 reached its limit of memory (runtime.overhead_memory_limit)"
        #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
        await fakes.sandbox.stop()
    }
}
