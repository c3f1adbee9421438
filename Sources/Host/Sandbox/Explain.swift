import EventLoop
import Hypervisor
import LinuxKernel
import Network
import TTRPC
import VhostUser

/// Why something went wrong: whoever reads it sees the guest only through this.
extension Sandbox {
    /// Why there is no guest: how far it came, the likely reason, what the VMM said, what the guest's console said last.
    func explain(_ error: any Error) async -> SandboxError {
        // The host's own affair: no word of the guest helps.
        guard let machine, !(error is NetworkError), !(error is SystemError) else {
            return SandboxError(.host, "\(error)")
        }
        // The channel ends with QEMU, and is heard of first.
        if error as? VsockError == .closed || (error as? RPCError)?.code == .unavailable { await machineEnd(machine) }
        let symptoms = await symptoms(of: machine)
        let diagnosis = Diagnosis(symptoms)
        var parts = ["the guest of sandbox \(id) did not come up: \(error)"]
        if let end = machine.end, state != .stopping {
            parts[0] =
                "the guest of sandbox \(id) did not come up: "
                + (loss ?? "the virtual machine ended: QEMU \(end)")
        }
        parts += [diagnosis.stage.rawValue] + (diagnosis.cause.map { [$0] } ?? [])
        if !symptoms.complaints.isEmpty {
            let who = loss == nil ? "QEMU" : "QEMU and virtiofsd"
            parts.append("\(who) said: " + symptoms.complaints.joined(separator: " | "))
        }
        return SandboxError(.guest, (parts + [lastWords(machine)]).joined(separator: "; "))
    }

    private func symptoms(of machine: QEMUVirtualMachine) async -> Symptoms {
        var symptoms = Symptoms(machine: plan.machine)
        symptoms.bootBytes = plan.machine.kernel.size + (plan.machine.initrd?.size ?? 0)
        symptoms.processor = await machine.processorState()
        (symptoms.end, symptoms.complaints) = (machine.end, machine.complaints())
        if loss != nil { symptoms.complaints += logs?.tail(paths.shareLog, lines: 3) ?? [] }
        symptoms.console = machine.consoleTail(lines: 40)
        symptoms.isAnnounced = connection != nil
        symptoms.isOutOfHostMemory = groups?.machine.hasKilledForMemory ?? false
        return symptoms
    }

    /// Waits until QEMU has ended, where all says that it has.
    private func machineEnd(_ machine: QEMUVirtualMachine) async {
        let deadline = ContinuousClock.now + Deadline.loss.limit
        while machine.end == nil, ContinuousClock.now < deadline { try? await sleep(.milliseconds(20), on: loop) }
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
        await machineEnd(machine)
        let state =
            loss ?? machine.end.map { "the virtual machine ended (QEMU \($0))" } ?? "the agent broke its connection"
        let cause = machine.end == nil ? nil : Diagnosis(await symptoms(of: machine)).cause
        return SandboxError(.guest, "\(task): \(state); \(cause.map { $0 + "; " } ?? "")\(lastWords(machine))")
    }
}
