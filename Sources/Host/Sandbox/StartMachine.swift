import AgentAPI
import EventLoop
import Hypervisor
import LinuxKernel

extension Sandbox {
    /// The machine: gone on from the template where there is one, else booted.
    func startMachine(in namespace: NetworkNamespace?) async throws -> QEMUVirtualMachine {
        var configuration = plan.machine
        configuration.networkNamespace = namespace?.path
        if let template = plan.template {
            if let obstacle = template.obstacle(version: Version.current) {
                log.warning("no template is used, the machine boots: \(obstacle)")
            } else {
                do { return try await clone(template, as: configuration) } catch let error as UnusableTemplate {
                    log.warning("the template can't be used, the machine boots: \(error.reason)")
                }
            }
        }
        return try await start(configuration)
    }

    private func start(_ configuration: VMConfiguration, memory: SharedDescriptor? = nil) async throws
        -> QEMUVirtualMachine
    {
        guard let logs else { throw SandboxError(.wrongState, "sandbox \(id) keeps no logs yet") }
        return try await QEMUVirtualMachine.start(
            configuration, qmpSocket: paths.qmp, logs: logs, memory: memory?.raw, on: loop
        ) {
            [ledger, groups] process throws(SystemError) in
            try ledger.add(.process(id: process, name: "qemu"))
            try groups?.machine.add(process.pid)
        }
    }

    /// Nothing of the sandbox was given away yet: a machine may still be booted.
    private struct UnusableTemplate: Error { let reason: String }

    private func clone(_ template: MachineTemplate, as configuration: VMConfiguration) async throws
        -> QEMUVirtualMachine
    {
        let machine: QEMUVirtualMachine
        do {
            let memory = try template.emptyMemory()
            machine = try await start(template.configuration(for: configuration), memory: memory)
            do {
                // While QEMU starts.
                try await blocking("memory") { try template.fill(memory) }
                try await template.restore(machine)
            } catch {
                await machine.stop(timeout: .zero)
                throw error
            }
        } catch { throw UnusableTemplate(reason: "\(error)") }
        do { try await template.resume(machine, as: configuration) } catch {
            await machine.stop(timeout: .zero)
            throw error
        }
        origin = .clone
        log.info(
            "the machine goes on from a template", metadata: ["sandbox": "\(id)", "template": "\(template.directory)"])
        return machine
    }
}
