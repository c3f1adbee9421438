import EventLoop
import Glibc
import Logging
import Pod

/// The moments at which a sandbox's cgroups get its processes and bind its machine.
extension Sandbox {
    /// Waits for `CgroupBinding.enter`.
    func cgroupsEntered() async throws {
        guard let move = binding.move else { return }
        do { try await move.result() } catch { return try binding.moved(error) }
        try binding.moved(nil)
    }

    /// Moves the shim out of its cgroup in the background, after it has entered it.
    func leaveCgroup() async -> BackgroundCall<Void>? {
        guard let cgroups = binding.cgroups else { return nil }
        try? await binding.move?.result()
        return try? BackgroundCall("cgroups", on: loop) { cgroups.helpers.leave(getpid()) }
    }

    /// Lets the manager's limits of processor time hold, from the first container's start on.
    func bindProcessorTime() {
        guard binding.bind() else { return }
        _ = hardware.take(on: executor) { [weak self] in await self?.bindNow() }
    }

    /// Repeats the binding for new processors and new limits.
    func rebindProcessorTime() async {
        guard binding.isBound else { return }
        await bindNow()
    }

    private func bindNow() async {
        guard let cgroups = binding.cgroups, let machine else { return }
        let (processes, isPod) = ([machine.vm.pid] + machine.fileServer.processes, plan.isPod)
        do {
            let threads = try await machine.vm.processorThreads()
            let call = try BackgroundCall("cgroups", on: loop) {
                try cgroups.bind(threads: threads, processes: processes, isPod: isPod)
            }
            try await call.result()
        } catch {
            log.warning(
                "the manager's limits of processor time don't bind the machine", metadata: ["error": "\(error)"])
        }
    }

    /// Binds the machine to the processors and memory nodes of the host that its containers have together.
    /// - Throws: `SandboxError` (`invalid`) for what the host does not have.
    func followProcessorSets() throws(SandboxError) {
        try binding.follow(ProcessorSets(of: containers.values.map(\.demand)))
    }
}
