import Diagnosis
import EventLoop
import Hypervisor
import LinuxKernel
import Network
import TTRPC
import VhostUser

/// Explains failures: these texts are all that a reader sees of the guest.
extension Sandbox {
    /// Explains a failed boot: its progress, the likely reason, the hypervisor's messages, the console's last lines.
    func explain(_ error: any Error) async -> SandboxError {
        // A fault of the host: the guest's output doesn't explain it.
        guard let vm = parts.vm, !(error is NetworkError), !(error is SystemError) else {
            return SandboxError(.host, loss.map { "\($0); \(error)" } ?? "\(error)")
        }
        // The channel ends with the hypervisor, and its end is noticed first.
        if error as? VsockError == .closed || (error as? RPCError)?.code == .unavailable { await waitForEnd(of: vm) }
        let symptoms = await symptoms(of: vm)
        let diagnosis = Diagnosis(symptoms)
        var text = ["the guest of sandbox \(id) did not come up: \(error)"]
        if let exit = vm.exit, state == .booting {
            text[0] =
                "the guest of sandbox \(id) did not come up: "
                + (loss ?? "the virtual machine ended: \(vm.name) \(exit)")
        }
        text += [diagnosis.progress.text(vm.name)] + (diagnosis.cause.map { [$0] } ?? [])
        if !symptoms.stderrLines.isEmpty {
            let server = parts.fileServer?.name ?? "its file server"
            let speaker = loss == nil ? vm.name : "\(vm.name) and \(server)"
            text.append("\(speaker) said: " + symptoms.stderrLines.joined(separator: " | "))
        }
        return SandboxError(.guest, (text + [consoleTail(vm)]).joined(separator: "; "))
    }

    /// Explains a broken connection by the state of its guest.
    /// - Parameter task: what was under way.
    func explainLoss(_ error: any Error, _ task: String) async -> any Error {
        guard let failure = error as? RPCError, failure.code == .unavailable, let vm = parts.vm else { return error }
        await waitForEnd(of: vm)
        let state =
            loss ?? vm.exit.map { "the virtual machine ended (\(vm.name) \($0))" } ?? "the agent broke its connection"
        let cause = vm.exit == nil ? nil : Diagnosis(await symptoms(of: vm)).cause
        return SandboxError(.guest, "\(task): \(state); \(cause.map { $0 + "; " } ?? "")\(consoleTail(vm))")
    }

    private func symptoms(of vm: any VirtualMachine) async -> Symptoms {
        var symptoms = Symptoms(plan.machine, plan.hypervisor)
        symptoms.bootBytes = plan.machine.kernel.size + (plan.machine.initrd?.size ?? 0)
        symptoms.processor = await vm.processorState()
        (symptoms.exit, symptoms.stderrLines) = (vm.exit, vm.stderrTail())
        if loss != nil { symptoms.stderrLines += parts.logs?.tail(paths.shareLog, lines: 3) ?? [] }
        symptoms.console = vm.consoleTail(lines: Self.diagnosedLines)
        symptoms.isAnnounced = parts.connection != nil
        symptoms.lackOfHostMemory = lackOfHostMemory
        return symptoms
    }

    private static let diagnosedLines = 40
    private static let reportedLines = 8

    /// Waits a bounded time for the end of a machine whose connections have ended.
    func waitForEnd(of vm: any VirtualMachine) async {
        let over = loop.makePromise(of: Void.self)
        let timer = loop.scheduleTask(in: .init(Deadline.loss.limit)) { over.succeed() }
        Task(executorPreference: executor) {
            _ = await vm.waitForExit()
            over.succeed()
        }
        try? await over.futureResult.get()
        timer.cancel()
    }

    func consoleTail(_ vm: any VirtualMachine) -> String {
        let console = vm.consoleTail(lines: Self.reportedLines)
        return console.isEmpty
            ? "the guest wrote nothing to its console"
            : "the guest's console ends with: " + console.joined(separator: " | ")
    }
}
