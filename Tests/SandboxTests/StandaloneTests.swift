import AgentAPI
import Cleanup
import Glibc
import LinuxKernel
import OCISpec
import Pod
import TestSupport
import Testing

@testable import Sandbox

/// A sandbox without a container of its own.
@Suite("A standalone sandbox", .timeLimit(.minutes(5)))
struct StandaloneTests {
    private static let files = PodFiles(resolver: "nameserver 192.0.2.1\n", hosts: "127.0.0.1 here\n", hostname: "pod")

    private func spec(_ change: (inout Spec) -> Void = { _ in }) -> Spec {
        var spec = Spec.example
        spec.annotations = ["io.kubernetes.cri.container-type": "container"]
        change(&spec)
        return spec
    }

    private func given(_ id: String, _ guest: FakeGuest) throws -> [String: Mount] {
        let spec = try Spec.decode(json: try #require(guest.specification(id)), source: "config.json")
        return Dictionary((spec.mounts ?? []).map { ($0.destination, $0) }) { _, last in last }
    }

    @Test("containers get the pod's files and one /dev/shm in the guest, where their specifications have none")
    func files() async throws {
        let (fakes, guest) = try await FakeSandbox.ready(pod: PodLimits(), standalone: .init(files: Self.files))
        let directory = fakes.plan.paths.machine + "/pod"
        for (name, text) in [
            ("resolv.conf", Self.files.resolver), ("hosts", Self.files.hosts), ("hostname", "pod\n"),
        ] { #expect(try Files.readText(directory + "/" + name) == text) }
        let hosts = try fakes.bundle("c2") + "/hosts"
        try Files.write(hosts, "")
        try await fakes.create("c1") {
            $0.annotations = spec().annotations
            $0.root?.readonly = false
        }
        try await fakes.create("c2") {
            $0.annotations = spec().annotations
            $0.mounts?.append(Mount(destination: "/etc/hosts", type: "bind", source: hosts, options: ["rbind"]))
        }
        let (first, second) = (try given("c1", guest), try given("c2", guest))
        for name in ["resolv.conf", "hosts", "hostname"] {
            let mount = try #require(first["/etc/" + name])
            #expect(mount.type == "bind" && mount.source?.hasPrefix(GuestPaths.share) == true)
            #expect(mount.options?.contains("ro") == true)
            #expect(second["/etc/" + name]?.options?.contains("ro") == (name != "hosts"))
        }
        for mounts in [first, second] {
            #expect(mounts["/dev/shm"]?.source == GuestPaths.memory(0) && mounts["/dev/shm"]?.type == "bind")
        }
        #expect(
            await fakes.sandbox.memory.known[0]?.options.sorted() == [
                "mode=1777", "nodev", "noexec", "nosuid", "size=67108864",
            ])
        await fakes.sandbox.stop()
    }

    @Test("a container has a user namespace of its own; one that shares the pod's processes can't have it")
    func users() throws {
        let (paths, standalone) = (SandboxPaths(sandbox: "s1"), SandboxPlan.Standalone())
        let given = [Linux.Namespace(type: "user", path: "/proc/7/ns/user"), Linux.Namespace(type: "pid")]
        let own = try standalone.completing(spec { $0.linux?.namespaces = given }, paths, source: "c")
        #expect(own.linux?.namespaces?.first == Linux.Namespace(type: "user"))
        var shared = given
        shared[1].path = "/proc/7/ns/pid"
        let error = #expect(throws: SpecError.self) {
            try standalone.completing(spec { $0.linux?.namespaces = shared }, paths, source: "c")
        }
        #expect(error?.description.contains("linux.namespaces[0]") == true)
    }

    @Test("a container outside the pod keeps its mounts, and a bind at /dev/shm stays what it is")
    func otherMounts() {
        let paths = SandboxPaths(sandbox: "s1")
        #expect(Self.files.completing(Spec.example, paths) == Spec.example)
        let bind = Mount(destination: "/dev/shm", type: "bind", source: "/volume", options: ["rbind"])
        let completed = Self.files.completing(spec { $0.mounts = [bind] }, paths).mounts ?? []
        #expect(completed.first == bind && completed.count == 4)
        let none = Self.files.completing(spec { $0.mounts = nil }, paths).mounts ?? []
        #expect(none.map(\.destination) == ["/etc/resolv.conf", "/etc/hosts", "/etc/hostname", "/dev/shm"])
    }

    @Test("its process on the host is in its cgroup, and ends with it")
    func process() async throws {
        let cgroups = try FakeCgroups()
        let (fakes, _) = try await FakeSandbox.ready(pod: PodLimits(), standalone: .init(), cgroups: cgroups)
        let pid = await fakes.sandbox.pid(of: "s1")
        let machine = await fakes.sandbox.pid
        #expect(kill(pid, 0) == 0 && pid != machine)
        #expect(try Files.readText("/proc/\(pid)/cmdline").hasPrefix("kata-sandbox s1\0"))
        let group = fakes.sandbox.plan.cgroups?.machine ?? ""
        #expect(cgroups.text("memory\(group)/cgroup.procs") == "\(pid)")
        await fakes.sandbox.stop()
        #expect(kill(pid, 0) != 0 && errno == ESRCH)
        fakes.end()
    }

    @Test("the pod's limit is its cgroup's without the overhead that its manager announces")
    func overhead() async throws {
        let cgroups = try FakeCgroups(["memory/pods/pod1/memory.limit_in_bytes": "\(300 << 20)\n"])
        let (fakes, _) = try await FakeSandbox.ready(
            pod: PodLimits(memory: 100 << 20), standalone: .init(memoryOverhead: 160 << 20), cgroups: cgroups)
        #expect(await fakes.sandbox.podLimits.memory == 140 << 20)
        await fakes.sandbox.stop()
        fakes.end()
    }

    @Test("disks of its last container are taken from the machine, which goes on")
    func disks() async throws {
        let (fakes, _) = try await FakeSandbox.ready(pod: PodLimits(), standalone: .init())
        let image = fakes.scratch.path + "/disk"
        try Files.write(image, Array(repeating: UInt8(0), count: 4096))
        try await fakes.create("c1") {
            $0.mounts?.append(Mount(destination: "/data", type: "ext4", source: image, options: ["loop"]))
        }
        #expect(fakes.hypervisor.machines[0].disks.count == 1)
        _ = try await fakes.sandbox.delete(container: "c1")
        #expect(fakes.hypervisor.machines[0].disks.isEmpty)
        #expect(await fakes.sandbox.isEmpty)
        #expect(await !fakes.sandbox.isUnused)
        #expect(await fakes.sandbox.state == .ready)
        await fakes.sandbox.stop()
    }
}
