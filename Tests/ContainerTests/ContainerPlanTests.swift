import CLinux
import Glibc
import OCISpec
import Testing

@testable import Container

@Suite("A container's plan")
struct ContainerPlanTests {
    private func plan(_ change: (inout Spec) -> Void = { _ in }) throws -> ContainerPlan {
        var spec = Spec.example
        change(&spec)
        return try ContainerPlan(spec, container: "c1")
    }

    @Test("the example specification becomes numbers and paths")
    func golden() throws {
        let plan = try plan()
        #expect(plan.rootfs == "rootfs")
        #expect(plan.readOnlyRoot)
        #expect(plan.cgroup == "kata/c1")
        #expect(plan.newCgroupNamespace)
        #expect(
            plan.namespaces
                == UInt64(clx_new_mount.rawValue | clx_new_pid.rawValue | clx_new_ipc.rawValue | clx_new_uts.rawValue))
        #expect(plan.process.capabilities?.effective == 1 << 5 | 1 << 10 | 1 << 29)
        #expect(plan.process.limits == [ProcessPlan.Limit(resource: 7, soft: 1024, hard: 1024)])
        let dev = plan.mounts[1]
        #expect(dev.type == "tmpfs" && dev.data == "mode=755,size=65536k")
        #expect(dev.flags == UInt(MS_NOSUID) | UInt(MS_STRICTATIME))
        #expect(plan.mounts[6].type == "cgroup2" && plan.mounts[6].data == "")
        #expect(plan.rootPropagation == UInt(MS_SLAVE) | UInt(MS_REC))
    }

    @Test("a bind mount keeps its flags, its propagation and its recursive attributes apart")
    func bind() throws {
        let plan = try plan {
            $0.mounts = [
                Mount(
                    destination: "/d", type: "bind", source: "/s",
                    options: ["rbind", "ro", "nosuid", "rslave", "rnoexec"])
            ]
        }
        let mount = plan.mounts[0]
        #expect(mount.isBind && mount.type == "")
        #expect(mount.flags == UInt(MS_BIND) | UInt(MS_REC) | UInt(MS_RDONLY) | UInt(MS_NOSUID))
        #expect(mount.propagation == [UInt(MS_SLAVE) | UInt(MS_REC)])
        #expect(mount.recursiveAttributes == 8)
    }

    @Test("resources become files of cgroup v2")
    func limits() throws {
        var resources = OCISpec.Linux.Resources()
        resources.memory = .init()
        resources.memory?.limit = 64 << 20
        resources.memory?.swap = 96 << 20
        resources.cpu = .init()
        resources.cpu?.shares = 1024
        resources.cpu?.quota = 50_000
        resources.pids = .init()
        resources.pids?.limit = -1
        let settings = try CgroupLimits.settings(resources)
        #expect(
            settings == [
                .init("memory.max", "67108864"), .init("memory.swap.max", "33554432"), .init("cpu.weight", "39"),
                .init("cpu.max", "50000 100000"), .init("pids.max", "max"),
            ])
    }

    @Test(
        "a cgroup's path stays below the guest's own root",
        arguments: [
            (nil, "kata/c1"), ("/default/c1", "default/c1"), ("system.slice:kata:c1", "system.slice/kata-c1.scope"),
            ("/../../x", "x"),
            ("/..", "kata/c1"),
        ])
    func cgroupPath(given: String?, expected: String) { #expect(CgroupLimits.path(given, container: "c1") == expected) }

    @Test("what can't be done is refused with its field")
    func refusals() {
        func field(_ change: (inout Spec) -> Void) -> String? {
            do {
                _ = try plan(change)
                return nil
            } catch { return (error as? PlanError)?.field }
        }
        #expect(field { $0.process?.capabilities?.bounding = ["CAP_FLY"] } == "process.capabilities.bounding")
        #expect(
            field { $0.process?.rlimits = [.init(type: "RLIMIT_LUCK", hard: 1, soft: 1)] } == "process.rlimits[0].type")
        #expect(field { $0.process?.apparmorProfile = "x" } == "process.apparmorProfile")
        #expect(field { $0.linux?.namespaces = [.init(type: "user")] } == "linux.namespaces[0].type")
        #expect(field { $0.linux?.namespaces = [.init(type: "ipc", path: "/x")] } == "linux.namespaces[0].path")
        #expect(field { $0.mounts = [Mount(destination: "/x", options: ["tmpcopyup"])] } == "mounts[0].options")
        #expect(field { $0.linux?.rootfsPropagation = "x" } == "linux.rootfsPropagation")
    }
}
