import CLinux
import OCISpec
import Testing

@testable import Container

@Suite("A plan on its way to the process")
struct PlanCoderTests {
    /// One with every field set.
    private static let full: ContainerPlan = {
        var plan = try! ContainerPlan(Spec.example, container: "c1")
        (plan.deviceFilter, plan.limits, plan.seccomp) = (DeviceFilter([]), [], nil)
        plan.masked = ["/proc/kcore", ""]
        plan.readOnly = ["/proc/sys"]
        plan.domainname = "süd"
        plan.networkSysctls = [.init("/proc/sys/net/a", "1 2")]
        plan.sysctls = [.init("/proc/sys/a", "1"), .init("/proc/sys/b", "2 3", optional: true)]
        plan.namespaces.joined = [.init(path: "/proc/7/ns/pid", flag: UInt64(clx_new_pid.rawValue))]
        plan.namespaces.timeOffsets = "monotonic 1 2\n"
        plan.personality = 8
        plan.startHooks = [Hook(path: "/h", args: ["h", "-x"], env: [], timeout: 3), Hook(path: "/i")]
        plan.state.annotations = ["b": "2", "a": "1"]
        plan.state.pid = 5
        plan.process.oomScoreAdjustment = -500
        plan.process.scheduler = .init(
            policy: 3, priority: 1, nice: -20, flags: 1, runtime: .max, deadline: 2, period: 3)
        plan.process.ioPriority = .init(class: 2, level: -1)
        plan.process.groups = [1, .max]
        (plan.process.initialProcessors, plan.process.finalProcessors) = ([0, 1], [1])
        plan.process.securityProfile = .seLinux("a:b:c")
        plan.mounts[0].propagation = [1 << 18]
        return plan
    }()

    @Test("every field of it arrives, but what the agent does itself")
    func arrives() throws {
        let plan = Self.full
        #expect(PlanCoder.read(ContainerPlan.self, plan.encoded) == plan)
        var more = plan
        more.limits = [.init("memory.max", "1")]
        more.deviceFilter = DeviceFilter([.init(allow: true)])
        #expect(PlanCoder.read(ContainerPlan.self, more.encoded) == plan)
        let exec = ExecPlan(plan.process, in: plan)
        #expect(PlanCoder.read(ExecPlan.self, exec.encoded) == exec)
        let request = Zygote.Request(role: 1, namespaces: 1 << 29, targets: [0, 1, 2, 5], warmUp: plan)
        #expect(PlanCoder.read(Zygote.Request.self, PlanCoder.write(request)) == request)
    }

    @Test("bytes that are none of a plan are no plan")
    func broken() throws {
        let bytes = Self.full.encoded
        for count in 0..<bytes.count { #expect(PlanCoder.read(ContainerPlan.self, Array(bytes[..<count])) == nil) }
        #expect(PlanCoder.read(ContainerPlan.self, bytes + [0]) == nil)
        for index in bytes.indices {
            var other = bytes
            other[index] ^= 0xff
            // Another plan or none.
            if let plan = PlanCoder.read(ContainerPlan.self, other) { #expect(plan != Self.full) }
        }
    }
}
