import EventLoop
import Hypervisor
import Linux
import Network
import TTRPC

/// Why something went wrong: whoever reads it sees the guest only through this.
extension Sandbox {
    /// Why there is no guest: what the VMM said, what the guest's console said last.
    func explain(_ error: any Error) -> SandboxError {
        // The host's own affair: no word of the guest helps.
        guard let machine, !(error is NetworkError) else { return SandboxError(.host, "\(error)") }
        var reason = "\(error)"
        if let end = machine.end, state != .stopping { reason = loss ?? "the virtual machine ended: QEMU \(end)" }
        let complaints = machine.complaints()
        if !complaints.isEmpty { reason += "; QEMU said: " + complaints.joined(separator: " | ") }
        reason += Self.remedy(machine.consoleTail(lines: 40), plan.machine)
        return SandboxError(.guest, "the guest of sandbox \(id) did not come up: \(reason); \(lastWords(machine))")
    }

    /// What to do about a guest whose kernel says this last; empty where we don't know.
    static func remedy(_ console: [String], _ machine: VMConfiguration) -> String {
        func says(_ words: String) -> Bool { console.contains { $0.mentions(words) } }
        let root = machine.image?.path ?? machine.initrd ?? ""
        if says("Unable to mount root fs") || says("Cannot open root device") {
            return machine.image == nil
                ? "; the kernel \(machine.kernel) can't read the initrd \(root)"
                : "; the kernel \(machine.kernel) can't read the image \(root): it needs its drivers built in (kata-osbuilder kernel check; make kernel builds one that has them)"
        }
        if says("No working init found") || says("Requested init") || says("Failed to execute /init") {
            return "; \(root) has no agent that runs: build it anew with kata-osbuilder"
        }
        if says("Attempted to kill init") {
            return "; the agent in \(root) died: build it anew with kata-osbuilder if it is damaged"
        }
        return ""
    }

    func lastWords(_ machine: QEMUVirtualMachine) -> String {
        let console = machine.consoleTail(lines: 8)
        return console.isEmpty
            ? "the guest wrote nothing to its console"
            : "the guest's console ends with: " + console.joined(separator: " | ")
    }

    /// A broken connection says nothing: the guest that broke it does.
    func explainLoss(_ error: any Error, _ task: String) async -> any Error {
        guard let failure = error as? RPCError, failure.code == .unavailable, let machine else { return error }
        let deadline = ContinuousClock.now + .seconds(2)
        while machine.end == nil, ContinuousClock.now < deadline { try? await sleep(.milliseconds(20), on: loop) }
        let state =
            loss ?? machine.end.map { "the virtual machine ended (QEMU \($0))" } ?? "the agent broke its connection"
        return SandboxError(.guest, "\(task): \(state); \(lastWords(machine))")
    }
}
