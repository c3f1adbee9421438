import EventLoop
import Hypervisor
import LinuxKernel
import Share

/// The loss of a part that the sandbox can't do without.
extension Sandbox {
    nonisolated func watch(_ server: any FileServer) {
        Task(executorPreference: executor) { [weak self] in
            let exit = await server.waitForExit()
            await self?.fileServerEnded(server.name, exit)
        }
    }

    nonisolated func watch(_ vm: any VirtualMachine) {
        Task(executorPreference: executor) { [weak self] in
            let exit = await vm.waitForExit()
            await self?.machineEnded(exit)
        }
    }

    /// Ends a guest that has lost its file server: it can only fail, so it is ended now, with the reason in the log.
    private func fileServerEnded(_ name: String, _ exit: ProcessExit) async {
        // The server ends with its machine too, and its end may be noticed first.
        if exit == .exited(0) { try? await sleep(Deadline.exitAfterShare.limit, on: loop) }
        let vm = parts.vm
        // The lost server may have brought the hypervisor down. A server that we ended after its machine is not the
        // reason.
        guard state == .booting || state == .ready, vm?.exit == nil || exit.isFailure else { return }
        let cause = lackOfHostMemory
        loss = "\(name), which serves the guest its files, \(exit)" + (cause.map { ": " + $0 } ?? "")
        log.error(
            "the guest has lost its files",
            metadata: ["sandbox": "\(id)", "\(name)": "\(exit)", "cause": "\(cause ?? "")"])
        vm?.kill()
    }

    /// Ends a guest without its agent: nothing in it can be controlled or waited for any more.
    func agentEnded() async {
        // The end of the machine ends the connection too, and is noticed in a moment.
        try? await sleep(Deadline.exitAfterAgent.limit, on: loop)
        guard state == .ready, let vm = machine?.vm, vm.exit == nil else { return }
        loss = "the guest's agent has ended"
        log.error("the guest's agent has ended: its machine is ended too", metadata: ["console": "\(consoleTail(vm))"])
        vm.kill()
    }

    /// The reason why the kernel has killed a process of the sandbox for lack of memory on the host; nil when it has not.
    var lackOfHostMemory: String? { binding.cgroups?.lackOfMemory }

    /// Notes the reason for the loss of a process. The end of the connection to its guest may be noticed before that of
    /// the machine, which has to be in the log first: a manager may end the sandbox when it hears of the process.
    func guestLost(_ process: ContainerProcess, of container: ContainerKey) async {
        if let vm = parts.vm { await waitForEnd(of: vm) }
        guard process.id.isEmpty else { return }
        if lackOfHostMemory != nil {
            process.noteOutOfMemory()
            if let record = present(container) { writeOutOfMemoryFile(of: record) }
        }
        guard container.id == id else { return }
        for other in containers.values where other.id != id && other.initial.state == .running {
            _ = await other.initial.waitForEnd()
        }
    }

    /// The containers, the pod's own last: to managers its end is the pod's, and they may ask no more about the others
    /// then.
    private var containersToEnd: [Container] {
        containers.values.filter { $0.id != id } + containers.values.filter { $0.id == id }
    }

    private func noteOutOfMemoryOfAll() {
        for container in containers.values where container.initial.ended == nil {
            container.initial.noteOutOfMemory()
            writeOutOfMemoryFile(of: container)
        }
    }

    func machineEnded(_ exit: ProcessExit) async {
        guard state != .gone else { return }
        let cause = lackOfHostMemory
        if state != .stopping {
            if let cause, loss == nil { loss = "the virtual machine was killed: " + cause }
            log.error(
                "the virtual machine ended",
                metadata: ["sandbox": "\(id)", "end": "\(exit)", "cause": "\(cause ?? "")"])
        }
        parts.channel?.close()
        parts.fileServer?.stop()
        // All of them before the first wait: another task may end one meanwhile.
        if cause != nil { noteOutOfMemoryOfAll() }
        for container in containersToEnd {
            for process in container.processes.values {
                await end(process, of: container, status: ProcessExit.killed.status)
            }
        }
        await lost()
    }
}
