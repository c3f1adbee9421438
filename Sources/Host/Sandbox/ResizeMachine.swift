import AgentAPI
import EventLoop
import Hypervisor
import LinuxKernel
import Pod

extension Sandbox {
    /// Brings the machine to the size that its containers ask for. Calls run one after the other.
    ///
    /// The first container needs no change: the machine was booted for it. Where the hypervisor can't remove processors,
    /// unneeded ones stay: the containers' quotas bound their time, and an idle one costs nothing.
    func resizeMachine() async throws {
        try plan.checkFit(
            containersMiB: plan.sizing.containersMiB(containers.values.map(\.demand), in: podLimits),
            in: binding.memoryLimit)
        guard !plan.sizing.isStatic, machine?.vm.capabilities.hotPlug.contains(.memory) == true else { return }
        let turn = hardware.take(on: executor) { [weak self] in try await self?.resize() }
        try await turn.value
    }

    /// Gives back what a deleted container had, in a moment. Managers delete a pod's containers one after the other:
    /// none of them waits for it, and the machine shrinks once.
    func shrinkMachine() {
        guard !isUnused else { return }
        try? followProcessorSets()
        guard !isShrinking else { return }
        isShrinking = true
        Task(executorPreference: executor) { [weak self, loop, shrinkPause] in
            try? await sleep(shrinkPause, on: loop)
            await self?.shrinkNow()
        }
    }

    func shrinkNow() async {
        isShrinking = false
        // The machine's end gives back everything. A pod ends with its own container.
        let isEnding = plan.isPod && containers[id]?.initial.ended != nil
        guard state == .ready, !isUnused, !isEnding else { return }
        try? await resizeMachine()
    }

    private func resize() async throws {
        guard let machine else { return }
        let vm = machine.vm
        let wanted = plan.sizing.size(
            for: containers.values.map(\.demand), in: podLimits,
            ceilingMiB: SandboxPlan.ceilingMiB(binding.memoryLimit, plan.need))
        let before = vm.size
        if wanted.memoryMiB > before.memoryMiB { binding.limitHelpers(machineMiB: wanted.memoryMiB) }
        do {
            try await vm.setProcessors(wanted.vcpus)
            if try await !vm.setMemory(wanted.memoryMiB, block: machine.memoryBlockMiB) {
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
        let now = vm.size
        if now.vcpus > wanted.vcpus, vm.capabilities.hotUnplug.contains(.processor), now.vcpus > plan.machine.vcpus {
            log.warning("the guest has not released all processors", metadata: ["sandbox": "\(id)"])
        }
        if now.vcpus > before.vcpus { await rebindProcessorTime() }
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
