import CLinux
import Glibc
import LinuxKernel
import OCISpec
import TestSupport
import Testing

@testable import Container

@Suite("Sysctls of the network")
struct NetworkSysctlsTests {
    private static let groups = "/proc/sys/net/ipv4/ping_group_range"

    private func plan(_ value: String, _ namespaces: [Linux.Namespace], _ map: [IDMapping]? = nil) throws
        -> ContainerPlan
    {
        var spec = Spec.example
        spec.linux?.sysctl = [
            "net.ipv4.ping_group_range": value, "net/ipv4/conf/eth0.7/forwarding": "1", "kernel.shmmax": "9",
            "user.max_inotify_watches": "8",
        ]
        spec.linux?.namespaces = namespaces
        spec.linux?.uidMappings = map
        spec.linux?.gidMappings = map
        return try ContainerPlan(spec, container: "c1")
    }

    /// The sysctls that are written before the namespaces are entered, and those that are written in them.
    private func written(_ plan: ContainerPlan) throws -> (before: [ContainerPlan.Setting], after: [String]) {
        let before = try NetworkSysctls(settings: plan.networkSysctls, namespaces: plan.namespaces).mapped()
        return (before, plan.sysctls.map(\.path))
    }

    @Test(
        "they are written before the container's user namespace is entered, with its groups mapped",
        arguments: [("0 0", "100000 100000"), ("0\t5999", "100000 7000999"), ("4999 5000", "104999 7000000")])
    func mapped(given: String, expected: String) throws {
        let map = [
            IDMapping(containerID: 0, hostID: 100_000, size: 5000),
            IDMapping(containerID: 5000, hostID: 7_000_000, size: 1000),
        ]
        let written = try written(plan(given, [.init(type: "user"), .init(type: "uts")], map))
        #expect(
            written.before == [.init(Self.groups, expected), .init("/proc/sys/net/ipv4/conf/eth0.7/forwarding", "1")])
        #expect(written.after == ["/proc/sys/kernel/shmmax", "/proc/sys/user/max_inotify_watches"])
    }

    @Test("without a user namespace of the container, groups are the guest's", arguments: ["0 2147483647", "1 0"])
    func own(value: String) throws {
        #expect(try written(plan(value, [.init(type: "uts")])).before.first == .init(Self.groups, value))
    }

    @Test("in a joined user namespace the groups are those of its own map")
    func joined() throws {
        // The test's own namespace maps each id to itself, or as its parent has it.
        let namespaces = [Linux.Namespace(type: "user", path: "/proc/self/ns/user"), .init(type: "uts")]
        #expect(try written(plan("0 0", namespaces)).before.first == .init(Self.groups, "0 0"))
    }

    @Test("the kernel's range of groups is the mapped one", .disabled(if: geteuid() != 0, "it is set: needs root"))
    func written() throws {
        try inOwnNetwork {
            var namespaces = NamespacePlan()
            namespaces.new = UInt64(clx_new_user.rawValue)
            namespaces.groupMap = "0 100000 5000\n"
            try NetworkSysctls(settings: [.init(Self.groups, "0 99")], namespaces: namespaces).write()
            #expect(try Files.readText(Self.groups) == "100000\t100099\n")
        }
    }

    @Test("a group that the container does not have is refused; what is no number is the kernel's to refuse")
    func refused() throws {
        let map = [IDMapping(containerID: 0, hostID: 100_000, size: 5000)]
        let error = #expect(throws: PlanError.self) {
            try written(plan("0 2147483647", [.init(type: "user"), .init(type: "uts")], map))
        }
        #expect(
            error?.description
                == "linux.sysctl: net.ipv4.ping_group_range: group 2147483647 is not in linux.gidMappings: map it")
        #expect(try NetworkSysctls.outside("0 x", by: "0 1 1\n") == "0 x")
        #expect(try NetworkSysctls.outside(" 0  1\n", by: "         0          9          2\n") == "9 10")
    }
}
