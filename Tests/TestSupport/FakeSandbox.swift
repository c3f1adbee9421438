import Channel
import Cleanup
import Configuration
import EventLoop
import GuestSpec
import Hypervisor
import LinuxKernel
import Logging
import NIOPosix
import Network
import OCISpec
import Pod
import Sandbox
import Share
import Stdio
import Synchronization

/// A sandbox on fakes: no virtual machine, no daemon, no mount, no root.
package final class FakeSandbox: Sendable {
    package let sandbox: Sandbox
    package let hypervisor: FakeHypervisor
    package let share = FakeShare()
    package let channel: FakeChannel
    package let ledger: Ledger
    package let lines = LogLines()
    package let scratch = Scratch()
    package let plan: SandboxPlan
    let agents: [FakeAgent]
    private let atEnd: AtEnd
    /// The ledger's records at the end of the last machine.
    package var leftAtEnd: [LedgerFile.Thing] { atEnd.things.withLock { $0 } }
    private final class AtEnd: Sendable { let things = Mutex<[LedgerFile.Thing]>([]) }

    /// - Parameters:
    ///   - agents: one for each dial; without one the guest never announces itself.
    ///   - toml: a configuration.
    ///   - pod: limits of a pod, whose sandbox it becomes; nil: it is none.
    ///   - standalone: what it has in place of a container of its own; nil: containers make and end it.
    ///   - cgroups: the host's cgroups.
    ///   - ledger: that of a warm sandbox whose machine this one takes; nil: its own.
    package init(
        _ agents: FakeAgent..., id: String = "s1", toml: String = "", pod: PodLimits? = nil,
        standalone: SandboxPlan.Standalone? = nil, cgroups: FakeCgroups? = nil, ledger: Ledger? = nil
    ) throws {
        self.agents = agents
        var configuration = Configuration()
        try configuration.merge(text: toml, file: "c.toml")
        let network = try NetworkSettings(
            Spec.example, process: nil, configuration: try Self.withoutNetwork,
            host: .init(namespace: 1, hasVhost: false, identity: { _ in 1 }), source: "config.json")
        let channel = FakeChannel(agents)
        self.channel = channel
        let paths = SandboxPaths(sandbox: id, root: scratch.path)
        let records = try ledger ?? Ledger.begin(in: paths.machine)
        try Files.makeDirectory(paths.machine)
        self.ledger = records
        let atEnd = AtEnd()
        self.atEnd = atEnd
        // The end of a hypervisor closes its devices, and with them the guest's streams.
        hypervisor = FakeHypervisor {
            atEnd.things.withLock { $0 = LedgerFile(records).left }
            channel.close()
            for agent in agents { agent.hangUp() }
        }
        var plan = SandboxPlan(
            sandbox: id, hostname: "h", network: network,
            basis: try .init(
                configuration, host: HostFacts(processors: 4, memoryMiB: 8000, kilohertz: 0), hypervisor: hypervisor),
            pod: pod ?? PodLimits(),
            cgroups: cgroups.map {
                .init($0.linux, sandbox: id, configuration: configuration, hierarchies: $0.hierarchies)
            },
            paths: paths)
        (plan.isPod, plan.standalone) = (pod != nil, standalone)
        (plan.channel, plan.share, plan.mounts) = (channel, share, share)
        self.plan = plan
        let lines = lines
        sandbox = Sandbox(
            plan: plan, ledger: records, loop: MultiThreadedEventLoopGroup.singleton.next(),
            log: Logger(label: "test") { _ in CollectedLog(lines: lines) })
    }

    private static var withoutNetwork: Configuration {
        get throws {
            var configuration = Configuration()
            try configuration.merge(
                text: "[runtime]\ndisable_new_netns = true\ninternetworking_model = \"none\"\n", file: "c.toml")
            return configuration
        }
    }

    /// A sandbox that has booted, and its guest.
    package static func ready(
        id: String = "s1", toml: String = "", pod: PodLimits? = nil, standalone: SandboxPlan.Standalone? = nil,
        cgroups: FakeCgroups? = nil
    ) async throws -> (FakeSandbox, FakeGuest) {
        let guest = try FakeGuest()
        let fakes = try FakeSandbox(
            guest.agent, id: id, toml: toml, pod: pod, standalone: standalone, cgroups: cgroups)
        try await fakes.sandbox.boot()
        return (fakes, guest)
    }

    /// Removes what the ledger has.
    package func end() { ledger.end() }

    /// A bundle with a root file system, for a container.
    package func bundle(_ container: String) throws -> String {
        let path = scratch.path + "/bundles/" + container
        try Files.makeDirectory(path + "/rootfs")
        return path
    }

    /// Reserves and creates a container.
    @discardableResult
    package func create(
        _ container: String, in sandbox: Sandbox? = nil, _ change: (inout Spec) -> Void = { _ in }
    ) async throws -> ContainerKey {
        let (sandbox, bundle) = (sandbox ?? self.sandbox, try bundle(container))
        var spec = Spec.example
        spec.process?.terminal = false
        change(&spec)
        let key = try await sandbox.reserve(container, bundle: bundle, streams: StreamPaths())
        do {
            try await sandbox.create(
                ContainerRequest(key, bundle: bundle, rootfs: .directory(bundle + "/rootfs"), spec: spec))
        } catch {
            await sandbox.release(key)
            throw error
        }
        return key
    }
}
