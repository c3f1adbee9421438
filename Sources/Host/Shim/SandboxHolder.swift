import AgentAPI
import CLinux
import Cleanup
import Configuration
import EventLoop
import Hypervisor
import LinuxKernel
import Logging
import NIOCore
import OCISpec
import Sandbox
import ShimAPI
import SwiftProtobuf
import Synchronization

/// The one sandbox of this shim: made by the first container, found by all others.
package final class SandboxHolder: Sendable {
    /// Names the configuration.toml to use where no option does.
    package static let configurationVariable = "KATA_RUNTIME_CONFIG"

    private let held = Mutex<Sandbox?>(nil)
    private let spare: Mutex<Spare?>
    private let loop: any EventLoop
    private let executor: LoopExecutor
    private let identifier: String
    private let ledger: Ledger
    private let configurationPath: String?
    private let log: Logger

    package init(
        identifier: String, configurationPath: String?, spare: Spare? = nil, ledger: Ledger, loop: any EventLoop,
        log: Logger
    ) {
        self.spare = Mutex(spare)
        self.identifier = identifier
        self.ledger = ledger
        self.configurationPath = configurationPath
        self.loop = loop
        self.log = log
        executor = LoopExecutor(loop)
    }

    package func current() throws(SandboxError) -> Sandbox {
        guard let sandbox = held.withLock({ $0 }) else {
            throw SandboxError(.notFound, "sandbox \(identifier) has no virtual machine yet")
        }
        return sandbox
    }

    /// The sandbox for a container: the one that is there, or a new one, which is to be booted.
    /// - Parameter process: stands for the container on the host.
    func sandbox(for request: Containerd_Task_V2_CreateTaskRequest, spec: Spec, process: Int32?) throws -> (
        sandbox: Sandbox, isNew: Bool
    ) {
        if let sandbox = held.withLock({ $0 }) {
            try refuseStranger(spec, to: sandbox, process)
            return (sandbox, false)
        }
        let configuration = try Configuration.load(
            try RuntimeOptions.configurationPath(request.options) ?? configurationPath
        ).applying(spec.annotations ?? [:], source: request.bundle + "/config.json")
        for warning in configuration.warnings { log.warning("\(warning)") }
        let files = try configuration.openFiles()
        let network = try SandboxPlan.Network(
            spec, process: process, configuration: configuration, host: .current,
            source: request.bundle + "/config.json")
        var plan = SandboxPlan(
            sandbox: identifier, hostname: spec.hostname ?? "", network: network, configuration: configuration,
            host: try .current(configuration, booting: files), demand: Demand(beforeBoot: spec),
            groups: SandboxPlan.Groups(spec.linux, sandbox: identifier, configuration: configuration))
        plan.isPod = PodRole(spec) == .sandbox
        // What can be refused is refused before anything is started.
        _ = try plan.guestSpec(spec, container: request.id, bundle: request.bundle)
        if plan.accelerator.accelerator == .tcg {
            log.warning("guests run without hardware virtualisation: \(plan.accelerator.reason)")
        }
        let sandbox = Sandbox(plan: plan, ledger: ledger, loop: loop, log: log)
        held.withLock { $0 = sandbox }
        return (sandbox, true)
    }

    /// Only a pod's sandbox takes a container that names it by an annotation: anybody whose manager takes annotations could name
    /// another's. The command line has its own rule (`Membership`), and says which process the container has.
    private func refuseStranger(_ spec: Spec, to sandbox: Sandbox, _ process: Int32?) throws(SandboxError) {
        guard process == nil, PodRole(spec) == .container, !sandbox.plan.isPod else { return }
        throw SandboxError(
            .invalid, "sandbox \(identifier), which the container's annotations name, is not a pod's: leave them out")
    }

    func boot(_ sandbox: Sandbox) async throws {
        do { if try await !takeSpare(sandbox) { try await sandbox.boot() } } catch {
            held.withLock { $0 = nil }
            throw error
        }
    }

    /// Gives the sandbox the machine that is there already, if it is the one that would be booted.
    private func takeSpare(_ sandbox: Sandbox) async throws -> Bool {
        let taken = spare.withLock { spare in
            defer { spare = nil }
            return spare
        }
        guard let spare = taken else { return false }
        if let obstacle = spare.obstacle(to: sandbox.plan, version: Version.current) {
            log.warning("the cached machine is not used, the sandbox boots its own: \(obstacle)")
            await spare.sandbox.stop()
            return false
        }
        try await sandbox.takeOver(spare)
        return true
    }

    /// Ends the machine that no sandbox has taken.
    func dropSpare() async {
        let left = spare.withLock { spare in
            defer { spare = nil }
            return spare
        }
        await left?.sandbox.stop()
    }

    /// Once the start is over, most of the program has been run for the last time.
    func trimWhenIdle() { loop.scheduleTask(in: .seconds(1)) { clx_trim_memory() } }

    /// - Returns: true, for a loop to go on.
    func pause(_ time: Duration) async -> Bool {
        (try? await sleep(time, on: loop)) != nil
    }

    func detached(_ body: @escaping @Sendable () async -> Void) {
        Task(executorPreference: executor) { await body() }
    }
}
