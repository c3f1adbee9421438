import AgentAPI
import Hypervisor
import LinuxKernel

extension Sandbox {
    /// Brings the machine to the size that its containers ask for. Calls take their turns.
    ///
    /// The first container finds it: the machine was booted with it. Processors that are not needed any more stay: their time is
    /// bounded by the containers' quotas, and an idle one costs nothing.
    func fitMachine() async throws {
        guard !plan.sizing.isStatic else { return }
        let turn = hardware.take(on: executor) { [weak self] in try await self?.resize() }
        try await turn.value
    }

    private func resize() async throws {
        guard let machine else { return }
        let wanted = plan.sizing.size(for: containers.values.map(\.demand))
        let before = machine.size
        if wanted.memoryMiB > before.memoryMiB { limitHelpers(machineMiB: wanted.memoryMiB) }
        do {
            try await machine.addProcessors(upTo: wanted.vcpus)
            if try await !machine.setMemory(wanted.memoryMiB, block: memoryBlockMiB) {
                log.warning(
                    "the guest has not taken all memory yet",
                    metadata: ["sandbox": "\(id)", "wanted_mib": "\(wanted.memoryMiB)"])
            }
        } catch {
            throw SandboxError(
                .host,
                "resize the machine of sandbox \(id) from \(before.vcpus) processors, \(before.memoryMiB) MiB to \(wanted.vcpus), \(wanted.memoryMiB): \(error)"
            )
        }
        let now = machine.size
        guard now != before else { return }
        log.info(
            "machine resized",
            metadata: ["sandbox": "\(id)", "vcpus": "\(now.vcpus)", "memory_mib": "\(now.memoryMiB)"])
        guard now.vcpus > before.vcpus || now.memoryMiB > before.memoryMiB else { return }
        var request = Grpc_OnlineCPUMemRequest()
        request.wait = true
        request.nbCpus = UInt32(now.vcpus)
        request.cpuOnly = now.memoryMiB <= before.memoryMiB
        _ = try await agent().onlineCPUMem(request, timeout: Deadline.onlining.limit)
    }
}
