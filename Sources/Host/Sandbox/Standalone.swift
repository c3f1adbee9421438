import AgentAPI
import Cleanup
import EventLoop
import Glibc
import LinuxKernel
import NIOCore
import OCISpec
import Pod
import TTRPC

extension SandboxPlan {
    /// Settings of a sandbox that its manager makes and ends by calls of their own (containerd's Sandbox API), whatever
    /// containers it has. They replace what the container that opens a pod brings along.
    package struct Standalone: Sendable, Equatable {
        /// Files for the pod's containers; nil where their specifications have them.
        package var files: PodFiles?
        /// Sysctls of the guest, set once before the first container.
        package var sysctls: [String: String]
        /// The part of the pod's limit of memory that is not its containers', in bytes; nil when unknown.
        package var memoryOverhead: Int64?

        package init(files: PodFiles? = nil, sysctls: [String: String] = [:], memoryOverhead: Int64? = nil) {
            (self.files, self.sysctls, self.memoryOverhead) = (files, sysctls, memoryOverhead)
        }
    }
}

extension SandboxPlan.Standalone {
    /// A container's specification, with the pod's files where it has none. It has a user namespace of its own, if any:
    /// the manager names that of a process which opens a pod, and here none does.
    /// - Throws: `SpecError` for a user namespace beside the pod's pid namespace, whose /proc it could not mount.
    func completing(_ spec: Spec, _ paths: SandboxPaths, source: String) throws(SpecError) -> Spec {
        var spec = files?.completing(spec, paths) ?? spec
        let namespaces = spec.linux?.namespaces ?? []
        guard PodRole(spec) == .container, let user = namespaces.firstIndex(where: { $0.type == "user" }) else {
            return spec
        }
        guard !namespaces.contains(where: { $0.type == "pid" && $0.path?.isEmpty == false }) else {
            throw SpecError(
                source, "linux.namespaces[\(user)]",
                "a user namespace beside a pid namespace of the pod's needs a pause container: leave sandboxer = \"shim\", hostUsers: false or shareProcessNamespace out"
            )
        }
        spec.linux?.namespaces?[user].path = nil
        return spec
    }
}

/// The end of a sandbox.
package struct SandboxEnd: Sendable {
    /// 0 after a stop that its manager has asked for.
    package let status: Int32
    package let at: timespec
}

/// The state of a sandbox, for managers.
package struct SandboxReport: Sendable {
    package let isReady: Bool
    /// The sandbox's process on the host; 0 when there is none.
    package let pid: Int32
    /// nil while it lives.
    package let end: SandboxEnd?
    /// Facts for people, by their names.
    package let facts: [String: String]
}

extension Sandbox {
    /// Whether nothing would miss it: it has no container, and no manager that ends it by a call of its own.
    package var isUnused: Bool { containers.isEmpty && plan.standalone == nil }

    /// Waits for the end of the sandbox: its stop, or the loss of its machine.
    package nonisolated func waitForEnd() async -> SandboxEnd { await finish.wait() }

    /// The present state of the sandbox.
    package var report: SandboxReport {
        let vm = machine?.vm
        var facts = ["state": state.rawValue, "hypervisor": plan.hypervisor.name]
        if let vm, vm.exit == nil {
            facts["hypervisor_pid"] = "\(vm.pid)"
            facts["vcpus"] = "\(vm.size.vcpus)"
            facts["memory_mib"] = "\(vm.size.memoryMiB)"
            facts["containers"] = containers.keys.sorted().joined(separator: " ")
        }
        if let loss { facts["reason"] = loss }
        let isReady = state == .ready && vm?.exit == nil && finish.value == nil
        return SandboxReport(isReady: isReady, pid: isReady ? pid(of: id) : 0, end: finish.value, facts: facts)
    }

    /// The sandbox's place on the host in the words of a container's specification, for managers and their plugins.
    package var specification: Spec {
        var spec = Spec()
        spec.hostname = plan.hostname
        var linux = OCISpec.Linux()
        linux.cgroupsPath = binding.cgroups?.machine.path
        let process = pid(of: id)
        linux.namespaces = ["network", "ipc", "uts", "pid"].map {
            .init(type: $0, path: "/proc/\(process)/ns/\(KernelNames.file(ofNamespace: $0))")
        }
        spec.linux = linux
        return spec
    }

    // MARK: The start

    /// Sets the guest up in place of the container that opens a pod.
    /// - Throws: `SandboxError` for sysctls that the agent can't set, `RPCError` with its refusal.
    func setUpStandalone(_ machine: RunningMachine) async throws {
        guard let standalone = plan.standalone else { return }
        try await set(standalone.sysctls, by: machine)
        try stillStarting()
        makeOwnProcess()
        guard let process = ownProcess, let group = binding.cgroups?.machine else { return }
        let move = try BackgroundCall("cgroup", on: loop) { try group.add(process.pid) }
        try await entered(move, id)
    }

    private func set(_ sysctls: [String: String], by machine: RunningMachine) async throws {
        guard !sysctls.isEmpty else { return }
        guard machine.agentFeatures.contains(AgentFeature.standalone) else {
            throw SandboxError(.guest, "linux.sysctls: the guest's agent can't set them without a container: update it")
        }
        _ = try await machine.agent.setSysctls(.with { $0.sysctls = sysctls }, timeout: Deadline.setup.limit)
    }

    /// Makes the process that managers see for the sandbox: it is in the sandbox's network namespace as long as the
    /// sandbox lives. Without it they see the hypervisor, which is there too.
    private func makeOwnProcess() {
        let events = Placeholder.Events(
            signalled: { _ in },
            killed: { [weak self, executor] in Task(executorPreference: executor) { await self?.ownProcessKilled() } })
        do {
            ownProcess = try Placeholder(
                of: id, kind: "sandbox", network: network?.namespace.path, ledger: ledger, events: events)
        } catch {
            log.warning(
                "the sandbox has no process of its own on the host: managers see the hypervisor's",
                metadata: ["error": "\(error)"])
        }
    }

    /// SIGKILL of the process ends the sandbox, as that of a pod's own container does.
    private func ownProcessKilled() {
        guard state == .booting || state == .ready, let vm = parts.vm, vm.exit == nil else { return }
        loss = "the sandbox's process on the host was killed"
        log.error("the sandbox's process on the host was killed: its machine is ended too")
        vm.kill()
    }

    // MARK: The end

    /// Records the end of a sandbox whose machine is lost, and removes what it has on the host. Its records stay until
    /// its manager asks for its end.
    func lost() async {
        guard state == .ready else { return }
        await ownProcess?.end(on: loop)
        endsWith(ProcessExit.killed.status)
        guard plan.standalone != nil else { return }
        Task(executorPreference: executor) { await self.stop() }
    }

    /// Records the end, once.
    func endsWith(_ status: Int32) { finish.complete(SandboxEnd(status: status, at: timeOfDay())) }

    /// Asks the programs of all containers to end, with SIGTERM, and waits for them.
    /// - Parameter limit: returns after this time, whatever they do.
    package func askContainersToEnd(within limit: Duration) async {
        let running = containers.values.filter { $0.isAlive && $0.initial.state == .running }
        let programs = running.map { (container: $0.id, process: $0.initial) }
        let done = OneShot<Void>()
        let timer = loop.scheduleTask(in: TimeAmount(limit)) { _ = done.complete(()) }
        Task(executorPreference: executor) {
            for program in programs { try? await self.signal(SIGTERM, container: program.container) }
            for program in programs { _ = await program.process.waitForEnd() }
            done.complete(())
        }
        await done.wait()
        timer.cancel()
    }
}
