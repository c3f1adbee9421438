import AgentAPI
import CLinux
import Cleanup
import Configuration
import EventLoop
import Hypervisor
import LinuxKernel
import Logging
import NIOCore
import Network
import OCISpec
import Pod
import Sandbox
import ShimAPI
import SwiftProtobuf
import Synchronization

/// The one sandbox of this shim: made by the first container, found by all others.
package final class SandboxHolder: Sendable {
    /// Names the configuration.toml to use where no option does.
    package static let configurationVariable = "KATA_RUNTIME_CONFIG"

    private let held = Mutex<Sandbox?>(nil)
    /// A machine that was booted in advance, until the sandbox takes it.
    private let warm: Mutex<WarmSandbox?>
    private let loop: any EventLoop
    private let executor: LoopExecutor
    private let identifier: String
    private let ledger: Ledger
    private let configurationPath: String?
    private let log: Logger

    package init(
        identifier: String, configurationPath: String?, warm: WarmSandbox? = nil, ledger: Ledger, loop: any EventLoop,
        log: Logger
    ) {
        self.warm = Mutex(warm)
        self.identifier = identifier
        self.ledger = ledger
        self.configurationPath = configurationPath
        self.loop = loop
        self.log = log
        executor = LoopExecutor(loop)
    }

    /// Holds a sandbox that runs already.
    func hold(_ sandbox: Sandbox) { held.withLock { $0 = sandbox } }

    /// The sandbox that a container has made.
    /// - Throws: `SandboxError` (`notFound`) before the first container, and after a failed boot.
    package func current() throws(SandboxError) -> Sandbox {
        guard let sandbox = held.withLock({ $0 }) else {
            throw SandboxError(.notFound, "sandbox \(identifier) has no virtual machine yet")
        }
        return sandbox
    }

    /// Whether there is nothing that a manager could ask for.
    @Sendable func haveNoContainer() async -> Bool {
        guard let sandbox = held.withLock({ $0 }) else { return true }
        return await sandbox.isEmpty
    }

    /// The sandbox for a container: the present one, or a new one, which the caller boots.
    /// - Parameter process: pid of the attach process.
    /// - Throws: for a container that the sandbox refuses, and for everything that can be refused before a start.
    func sandbox(for request: Containerd_Task_V2_CreateTaskRequest, spec: Spec, process: Int32?) throws -> (
        sandbox: Sandbox, isNew: Bool
    ) {
        if let sandbox = held.withLock({ $0 }) {
            if let reason = SandboxMembership.refusal(
                of: spec, by: identifier, isPod: sandbox.plan.isPod, hasProcess: process != nil)
            {
                throw SandboxError(.invalid, reason)
            }
            return (sandbox, false)
        }
        let configuration = try Configuration.load(
            try RuntimeOptions.configurationPath(request.options) ?? configurationPath, keys: .all
        ).applying(spec.annotations ?? [:], source: request.bundle + "/config.json")
        if configuration[Keys.runtimeDebug] {
            // All copies of the shim's log share their level.
            var log = log
            log.logLevel = .debug
        }
        for warning in configuration.warnings { log.warning("the configuration", metadata: ["warning": "\(warning)"]) }
        let files = try configuration.openFiles()
        let network = try NetworkSettings(
            spec, process: process, configuration: configuration, host: .current,
            source: request.bundle + "/config.json")
        let demand = Demand(beforeBoot: spec)
        let isPod = PodRole(spec) == .sandbox
        let pod = isPod ? PodLimits(annotations: spec.annotations ?? [:]) : PodLimits()
        var plan = SandboxPlan(
            sandbox: identifier, hostname: spec.hostname ?? "", network: network,
            basis: try SandboxPlan.Basis(configuration, files: files), demand: demand, pod: pod,
            cgroups: SandboxPlan.Cgroups(spec.linux, sandbox: identifier, configuration: configuration))
        plan.isPod = isPod
        // Refusals come before anything is started.
        try plan.checkCapabilities()
        try plan.checkFit(containersMiB: plan.sizing.containersMiB([demand], in: pod), in: plan.cgroups?.limit)
        if !plan.hypervisor.acceleration.isHardware {
            log.warning(
                "guests run without hardware virtualisation",
                metadata: ["reason": "\(plan.hypervisor.acceleration.reason)"])
        }
        let sandbox = Sandbox(plan: plan, ledger: ledger, loop: loop, log: log)
        hold(sandbox)
        return (sandbox, true)
    }

    func boot(_ sandbox: Sandbox) async throws {
        if try await !takeWarm(sandbox) { try await sandbox.boot() }
    }

    /// Forgets a sandbox without a machine. The next container makes another.
    func forget() { held.withLock { $0 = nil } }

    /// Gives the sandbox the warm machine, if it is the one that would be booted.
    private func takeWarm(_ sandbox: Sandbox) async throws -> Bool {
        guard let warm = removeWarm() else { return false }
        if let reason = warm.unavailableReason(for: sandbox.plan, version: Version.current) {
            log.warning("the cached machine is not used, the sandbox boots its own", metadata: ["reason": "\(reason)"])
            await warm.end(inPlaceOf: sandbox)
            return false
        }
        do { try await sandbox.takeOver(warm) } catch {
            // Nothing is left to end there once it has handed its machine over.
            await warm.end(inPlaceOf: sandbox)
            throw error
        }
        return true
    }

    /// Ends a warm machine that no sandbox has taken.
    func stopWarm() async { await removeWarm()?.sandbox.stop() }

    private func removeWarm() -> WarmSandbox? {
        warm.withLock { warm in
            defer { warm = nil }
            return warm
        }
    }

    /// Gives memory back to the host a second after a start, when most of the program has been used for the last time.
    func trimWhenIdle() { loop.scheduleTask(in: .seconds(1)) { clx_trim_memory() } }

    /// Waits, and returns true, for the condition of a loop.
    func pause(_ time: Duration) async -> Bool {
        (try? await sleep(time, on: loop)) != nil
    }

    func detached(_ body: @escaping @Sendable () async -> Void) {
        Task(executorPreference: executor) { await body() }
    }
}
