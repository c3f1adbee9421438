import CLinux
import Glibc
import LinuxKernel
import OCISpec
import Pod
import TestSupport
import Testing

@testable import CommandLine

@Suite("Which sandbox a new container belongs to")
struct MembershipTests {
    private let place: CommandPlace
    /// Two processes that live as long as the test. They are waited for at its end: swift-testing sees the end of an
    /// exit test only when no other child that has ended is left.
    private final class Sleepers {
        let all: [ChildProcess]

        init() throws { all = try (0..<2).map { _ in try ChildProcess(Command("/bin/sleep", ["60"])) } }

        deinit {
            for process in all {
                process.signal(SIGKILL)
                _ = process.wait()
            }
        }
    }
    private let sleepers: Sleepers
    private var processes: [ChildProcess] { sleepers.all }

    init() throws {
        place = try CommandPlace()
        sleepers = try Sleepers()
    }

    private func membership(_ id: String, _ namespaces: [(type: String, pid: Int32)], _ states: [ContainerState])
        throws -> SandboxMembership
    {
        var spec = Spec.example
        spec.linux?.namespaces = namespaces.map {
            .init(type: $0.type, path: "/proc/\($0.pid)/ns/\($0.type == "network" ? "net" : $0.type)")
        }
        return try SandboxMembership(spec, id: id, containers: states.map(\.known), source: "config.json")
    }

    @Test("a pod's container joins the pid namespace of the container that its path leads to, if that isn't the pod's")
    func target() throws {
        func joins(_ pid: Int32, pod: Bool = true) -> [String: String] {
            var spec = Spec.example
            spec.annotations =
                pod
                ? ["io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": "pause"] : [:]
            spec.linux?.namespaces = [
                .init(type: "pid", path: "/proc/\(pid)/ns/pid"), .init(type: "ipc", path: "/proc/\(pid)/ns/ipc"),
            ]
            return SandboxMembership.joins(
                of: spec,
                containers: [
                    .init(id: "pause", sandbox: "pause", process: processes[0].pid),
                    .init(id: "app", sandbox: "pause", process: processes[1].pid),
                    .init(id: "ended", sandbox: "pause", process: nil),
                ])
        }
        #expect(joins(processes[1].pid) == ["pid": "app"])
        #expect(joins(processes[0].pid) == [:] && joins(1) == [:] && joins(processes[1].pid, pod: false) == [:])
    }

    @Test("a container that joins no other gets a sandbox of its name, or of the next free one")
    func own() throws {
        #expect(try membership("a", [], []) == SandboxMembership(sandbox: "a", exists: false, joins: [:]))
        let states = [place.state("b", sandbox: "a"), place.state("c", sandbox: "a-2")]
        #expect(try membership("a", [], states).sandbox == "a-3")
        // The namespace of a process that is no container's.
        #expect(try membership("a", [("network", 1)], states).exists == false)
    }

    @Test("a container that joins another's network belongs to its sandbox, and may join more of its namespaces")
    func joined() throws {
        let states = [
            place.state("one", pid: processes[0].pid), place.state("two", sandbox: "one", pid: processes[1].pid),
        ]
        let pids = processes.map(\.pid)
        #expect(
            try membership("new", [("network", pids[0]), ("ipc", pids[1])], states)
                == SandboxMembership(sandbox: "one", exists: true, joins: ["ipc": "two"]))
    }

    @Test("a network by another path than that of a container's process is the same; an own one and the host's are not")
    func pinned() throws {
        func sleeper(own: Bool) throws -> ChildProcess {
            var command = Command("/bin/sleep", ["60"])
            if own { command.newNamespaces = UInt64(clx_new_net.rawValue) }
            return try ChildProcess(command)
        }
        let (infra, other, shared) = (try sleeper(own: true), try sleeper(own: true), try sleeper(own: false))
        defer {
            for process in [infra, other, shared] {
                process.signal(SIGKILL)
                _ = process.wait()
            }
        }
        let states = [place.state("shared", pid: shared.pid), place.state("infra", pid: infra.pid)]
        func membership(_ pid: Int32) throws -> SandboxMembership {
            var spec = Spec.example
            spec.linux?.namespaces = ["net", "ipc", "uts"].map {
                .init(type: $0 == "net" ? "network" : $0, path: "/proc/\(pid)/task/\(pid)/ns/\($0)")
            }
            return try SandboxMembership(spec, id: "new", containers: states.map(\.known), source: "config.json")
        }
        #expect(try membership(infra.pid) == SandboxMembership(sandbox: "infra", exists: true))
        #expect(try membership(other.pid).exists == false && membership(shared.pid).exists == false)
    }

    @Test("namespaces of containers in different sandboxes are refused, and one without the network")
    func refused() throws {
        let states = [place.state("one", pid: processes[0].pid), place.state("two", pid: processes[1].pid)]
        let pids = processes.map(\.pid)
        for namespaces in [[("network", pids[0]), ("ipc", pids[1])], [("ipc", pids[0])]] {
            let error = #expect(throws: SpecError.self) { try membership("new", namespaces, states) }
            #expect(error?.description.hasPrefix("config.json: linux.namespaces[") == true)
        }
    }
}
