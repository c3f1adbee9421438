import Cgroups
import Cleanup
import Glibc
import LinuxKernel
import OCISpec
import Pod
import TestSupport
import Testing

@testable import Sandbox

@Suite("A container's process on the host", .timeLimit(.minutes(5)))
struct HostProcessTests {
    private func started(_ ids: String...) async throws -> (FakeSandbox, FakeGuest) {
        let (fakes, guest) = try await FakeSandbox.ready()
        for id in ids {
            try await fakes.create(id)
            try await fakes.sandbox.start(container: id)
        }
        return (fakes, guest)
    }

    @Test("each container has a process, whose pid is free again when its end is reported")
    func life() async throws {
        let (fakes, guest) = try await started("c1", "c2")
        let sandbox = fakes.sandbox
        let (first, second) = (await sandbox.pid(of: "c1"), await sandbox.pid(of: "c2"))
        #expect(first != second && kill(first, 0) == 0 && kill(second, 0) == 0)
        #expect(try await sandbox.pids(of: "c1") == [first])
        guest.end("c1", status: 3)
        #expect(try await sandbox.wait(container: "c1").status == 3)
        #expect(kill(first, 0) != 0 && errno == ESRCH)
        #expect(kill(second, 0) == 0)
        #expect(await sandbox.pid(of: "c1") == first)
        #expect(try await sandbox.pids(of: "c1") == [])
        await sandbox.stop()
        #expect(kill(second, 0) != 0)
        fakes.end()
    }

    @Test("its namespaces tell the container from others", .enabled(if: getuid() == 0, "needs root"))
    func namespaces() async throws {
        let (fakes, _) = try await started("c1", "c2")
        let pids = [await fakes.sandbox.pid(of: "c1"), await fakes.sandbox.pid(of: "c2"), getpid()]
        for type in ["pid", "ipc", "uts"] {
            var inodes: Set<UInt64> = []
            for pid in pids {
                var facts = stat()
                #expect(stat("/proc/\(pid)/ns/\(type)", &facts) == 0)
                inodes.insert(UInt64(facts.st_ino))
            }
            #expect(inodes.count == pids.count, "\(type)")
        }
        // By its words, and by its inode.
        #expect(NamespacePath.leads("/proc/\(pids[0])/ns/pid", to: pids[0], "pid"))
        #expect(!NamespacePath.leads("/proc/\(pids[0])/ns/pid", to: pids[1], "pid"))
        #expect(NamespacePath.leads("/proc/\(getpid())/root/proc/\(pids[0])/ns/pid", to: pids[0], "pid"))
        await fakes.sandbox.stop()
        fakes.end()
    }

    @Test("a signal to it goes to the container's program, and SIGKILL ends the container")
    func signals() async throws {
        let (fakes, guest) = try await started("c1")
        let pid = await fakes.sandbox.pid(of: "c1")
        kill(pid, SIGUSR1)
        try await eventually { guest.signals == [UInt32(SIGUSR1)] }
        kill(pid, SIGKILL)
        #expect(try await fakes.sandbox.wait(container: "c1").status == 137)
        #expect(guest.signals.last == UInt32(SIGKILL))
        await fakes.sandbox.stop()
        fakes.end()
    }

    @Test("it ends with the machine, and with a container that is not created")
    func losses() async throws {
        let (fakes, guest) = try await started("c1")
        let pid = await fakes.sandbox.pid(of: "c1")
        guest.refuse("CreateContainer")
        await #expect(throws: (any Error).self) { try await fakes.create("refused") }
        let children = Files.list("/proc").compactMap { Int32($0) }.filter {
            (try? Files.readText("/proc/\($0)/cmdline"))?.hasPrefix("kata-container refused\0") == true
        }
        #expect(children == [])
        fakes.hypervisor.machines.first?.end(.killed)
        #expect(try await fakes.sandbox.wait(container: "c1").status == 137)
        #expect(kill(pid, 0) != 0)
        await fakes.sandbox.stop()
        fakes.end()
    }

    @Test("a signal to a process that has ended is refused as not found; a size without a terminal is no error")
    func ended() async throws {
        let (fakes, guest) = try await started("c1")
        try await fakes.sandbox.resize(container: "c1", exec: "", rows: 24, columns: 80)
        #expect(!guest.calls.contains("TtyWinResize"))
        guest.end("c1", status: 0)
        _ = try await fakes.sandbox.wait(container: "c1")
        for number in [SIGKILL, SIGTERM, SIGUSR1] {
            let error = await #expect(throws: SandboxError.self) {
                try await fakes.sandbox.signal(number, container: "c1")
            }
            #expect(error?.kind == .notFound)
        }
        await fakes.sandbox.stop()
        fakes.end()
    }

    @Test("a container's cgroup is removed when it is empty, and left alone with a process of others")
    func cgroup() throws {
        #expect(Cgroup.path(ofContainer: "") == nil)
        #expect(Cgroup.path(ofContainer: "/kubepods/pod1/c1") == "/kubepods/pod1/c1")
        #expect(Cgroup.path(ofContainer: "a-b.slice:cri:c1") == "/a.slice/a-b.slice/cri-c1.scope")
        // Whatever a ledger's file says.
        for path in ["", "/", "relative", "/a/../b"] { ContainerCgroup(path: path).undo() }
    }
}
