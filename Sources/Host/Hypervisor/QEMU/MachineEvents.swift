import Hypervisor
import Synchronization

import struct NIOCore.EventLoopPromise

/// Reports of QEMU that other code waits for.
final class MachineEvents: Sendable {
    private struct State: Sendable {
        /// Waiters by device, resumed when the guest has released it.
        var removals: [String: EventLoopPromise<Void>] = [:]
        /// The waiter for the end of writing or reading the machine's state.
        var migration: EventLoopPromise<Void>?
        /// Whether the machine's state is being written: it may stand still then.
        var expectsStop = false
    }
    private let state = Mutex(State())

    /// A stop that we did not request is an internal error of QEMU: the guest never runs again.
    func isFatal(_ event: Monitor.Event) -> Bool {
        switch event.name {
        case "STOP": !state.withLock { $0.expectsStop }
        case "GUEST_PANICKED": true
        default: false
        }
    }

    func happened(_ event: Monitor.Event) {
        switch (event.name, event.device) {
        case ("MIGRATION", _):
            guard let status = event.status, ["completed", "failed", "cancelled"].contains(status) else { return }
            let waiter = state.withLock { state in
                defer { state.migration = nil }
                return state.migration
            }
            if status == "completed" { waiter?.succeed() } else { waiter?.fail(VMError("its state: \(status)")) }
        case ("DEVICE_DELETED", let device?): takeRemoval(device)?.succeed()
        default: break
        }
    }

    func expectStop() { state.withLock { $0.expectsStop = true } }
    func waitForMigration(_ promise: EventLoopPromise<Void>) { state.withLock { $0.migration = promise } }
    func waitForRemoval(_ device: String, _ promise: EventLoopPromise<Void>) {
        state.withLock { $0.removals[device] = promise }
    }

    /// - Returns: nil when it was kept meanwhile.
    @discardableResult
    func takeRemoval(_ device: String) -> EventLoopPromise<Void>? {
        state.withLock { $0.removals.removeValue(forKey: device) }
    }

    /// QEMU has ended: no more events come.
    func end() {
        let (removals, migration) = state.withLock { state in
            defer { (state.removals, state.migration) = ([:], nil) }
            return (state.removals, state.migration)
        }
        for (device, promise) in removals { promise.fail(VMError("device_del \(device): the machine has ended")) }
        migration?.fail(VMError("its state: the machine has ended"))
    }
}
