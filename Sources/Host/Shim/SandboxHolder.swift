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

/// The one sandbox of this shim: made by the first container or by the Sandbox API, found by all others.
package final class SandboxHolder: Sendable {
    /// Names the configuration.toml to use where no option does.
    package static let configurationVariable = "KATA_RUNTIME_CONFIG"

    private let held = Mutex<Sandbox?>(nil)
    /// A machine that was booted in advance, until the sandbox takes it.
    private let warm: Mutex<WarmSandbox?>
    private let loop: any EventLoop
    private let executor: LoopExecutor
    /// The id of the one sandbox that this shim may have.
    let identifier: String
    private let ledger: Ledger
    private let configurationPath: String?
    private let log: Logger
    /// Makes a new sandbox, in tests; nil: `plan`.
    private let make: (@Sendable (SandboxOrder) throws -> Sandbox)?

    package convenience init(
        identifier: String, configurationPath: String?, warm: WarmSandbox? = nil, ledger: Ledger, loop: any EventLoop,
        log: Logger
    ) {
        self.init(
            identifier: identifier, configurationPath: configurationPath, warm: warm, ledger: ledger, loop: loop,
            log: log, make: nil)
    }

    /// - Parameter make: makes a new sandbox; nil: as its order says.
    init(
        identifier: String, configurationPath: String?, warm: WarmSandbox? = nil, ledger: Ledger, loop: any EventLoop,
        log: Logger, make: (@Sendable (SandboxOrder) throws -> Sandbox)?
    ) {
        self.make = make
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

    /// The sandbox that a container or the Sandbox API has made.
    /// - Throws: `SandboxError` (`notFound`) before the first container, and after a failed boot.
    package func current() throws(SandboxError) -> Sandbox {
        guard let sandbox = held.withLock({ $0 }) else {
            throw SandboxError(.notFound, "sandbox \(identifier) has no virtual machine yet")
        }
        return sandbox
    }

    /// Whether there is nothing that a manager could ask for.
    @Sendable func isUnused() async -> Bool {
        guard let sandbox = held.withLock({ $0 }) else { return true }
        return await sandbox.isUnused
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
        return (try newSandbox(SandboxOrder(request, spec, process: process)), true)
    }

    /// Makes the sandbox that a manager asks for without a container.
    /// - Throws: `SandboxError` (`alreadyExists`) where there is one, and for everything that can be refused before a
    ///   start.
    func create(_ order: SandboxOrder) throws -> Sandbox {
        guard held.withLock({ $0 }) == nil else {
            throw SandboxError(.alreadyExists, "sandbox \(identifier) exists already")
        }
        return try newSandbox(order)
    }

    private func newSandbox(_ order: SandboxOrder) throws -> Sandbox {
        let sandbox = try make?(order) ?? plan(order)
        hold(sandbox)
        return sandbox
    }

    /// Plans a sandbox. Starts nothing.
    private func plan(_ order: SandboxOrder) throws -> Sandbox {
        let configuration = try Configuration.load(order.configurationPath ?? configurationPath, keys: .all)
            .applying(order.annotations, source: order.source)
        if configuration[Keys.runtimeDebug] {
            // All copies of the shim's log share their level.
            var log = log
            log.logLevel = .debug
        }
        for warning in configuration.warnings { log.warning("the configuration", metadata: ["warning": "\(warning)"]) }
        let files = try configuration.openFiles()
        var plan = SandboxPlan(
            sandbox: identifier, hostname: order.hostname, network: try order.networkSettings(configuration),
            basis: try SandboxPlan.Basis(configuration, files: files), demand: order.demand, pod: order.pod,
            cgroups: SandboxPlan.Cgroups(order.linux, sandbox: identifier, configuration: configuration))
        (plan.isPod, plan.standalone) = (order.isPod, order.standalone)
        // Refusals come before anything is started.
        try plan.checkCapabilities()
        try plan.checkFit(
            containersMiB: plan.sizing.containersMiB([order.demand], in: order.pod), in: plan.cgroups?.limit)
        if !plan.hypervisor.acceleration.isHardware {
            log.warning(
                "guests run without hardware virtualisation",
                metadata: ["reason": "\(plan.hypervisor.acceleration.reason)"])
        }
        return Sandbox(plan: plan, ledger: ledger, loop: loop, log: log)
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
