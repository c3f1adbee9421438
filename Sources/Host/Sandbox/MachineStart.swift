import Channel
import Cleanup
import EventLoop
import Hypervisor
import LinuxKernel
import Logging
import Share
import Synchronization
import TTRPC

import protocol NIOCore.EventLoop

/// A way to get the machine of a sandbox.
protocol MachineSource: Sendable {
    /// Returns when the guest answers. Reports parts to `start` as soon as they exist, even when it throws later.
    func acquire(_ start: MachineStart) async throws -> RunningMachine
}

/// One start of a sandbox's machine: the inputs of a source, and the parts that exist so far.
final class MachineStart: Sendable {
    let plan: SandboxPlan
    let ledger: Ledger
    /// The ledger's last record before the sandbox.
    let beginning: Ledger.RecordID
    let limits: LimitLog
    let log: Logger
    let loop: any EventLoop
    let cgroups: SandboxCgroups?
    /// Path of the sandbox's network namespace; nil for none.
    let networkNamespace: String?
    /// Called when the file server runs.
    let fileServerStarted: @Sendable (any FileServer) -> Void
    /// Called when the machine runs, while the guest boots. An error ends the start.
    let vmStarted: @Sendable (any VirtualMachine, RunningMachine.Origin) async throws -> Void

    private let state = Mutex(State())
    private struct State: Sendable {
        var parts = MachineParts()
        var isCancelled = false
    }

    init(
        _ plan: SandboxPlan, ledger: Ledger, beginning: Ledger.RecordID, limits: LimitLog, log: Logger,
        loop: any EventLoop,
        cgroups: SandboxCgroups?, networkNamespace: String?,
        fileServerStarted: @escaping @Sendable (any FileServer) -> Void,
        vmStarted: @escaping @Sendable (any VirtualMachine, RunningMachine.Origin) async throws -> Void
    ) {
        (self.plan, self.ledger, self.beginning, self.limits) = (plan, ledger, beginning, limits)
        (self.log, self.loop) = (log, loop)
        (self.cgroups, self.networkNamespace) = (cgroups, networkNamespace)
        (self.fileServerStarted, self.vmStarted) = (fileServerStarted, vmStarted)
    }

    var paths: SandboxPaths { plan.paths }

    var parts: MachineParts { state.withLock { $0.parts } }

    /// Reports a part.
    /// - Parameter end: ends the part where the sandbox was stopped meanwhile.
    /// - Throws: where it was.
    func has<Part>(
        _ key: any WritableKeyPath<MachineParts, Part?> & Sendable, _ part: Part, orEnd end: (Part) -> Void
    ) throws(SandboxError) {
        do throws(SandboxError) { try change { $0[keyPath: key] = part } } catch {
            end(part)
            throw error
        }
    }

    /// Reports all parts at once.
    /// - Throws: when the sandbox was stopped meanwhile. The caller ends the parts then.
    func has(_ parts: MachineParts) throws(SandboxError) { try change { $0 = parts } }

    private func change(_ body: (inout MachineParts) -> Void) throws(SandboxError) {
        let isCancelled = state.withLock { state in
            if !state.isCancelled { body(&state.parts) }
            return state.isCancelled
        }
        if isCancelled {
            throw SandboxError(.wrongState, "sandbox \(plan.paths.sandbox) was stopped while it started")
        }
    }

    /// Refuses all parts from now on.
    func cancel() { state.withLock { $0.isCancelled = true } }
}
