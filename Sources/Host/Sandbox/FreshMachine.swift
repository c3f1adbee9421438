import AgentAPI
import Channel
import EventLoop
import Hypervisor
import LinuxKernel
import Logging
import Share
import Snapshot
import Streams
import TTRPC

/// A new machine: cloned from the template where there is a usable one, else booted.
struct FreshMachine: MachineSource {
    func acquire(_ start: MachineStart) async throws -> RunningMachine {
        var phases = Phases()
        let relay = try StreamRelay()
        try start.has(\.relay, relay) { $0.stop() }
        let logs = try BoundedLogs()
        try start.has(\.logs, logs) { $0.stop() }
        let channel = try start.plan.channel.open(on: start.loop, limits: start.limits)
        try start.has(\.channel, channel) { $0.close() }
        let fileServer = try startFileServer(start, logs)
        phases.end("share")
        let (vm, origin) = try await startMachine(start, logs)
        phases.end("vmm")
        // Ends when the guest answers, at the deadline, or at once when the hypervisor's end closes the channel.
        async let dialled = dialAgent(channel, vm, start.plan)
        do { try await start.vmStarted(vm, origin) } catch {
            channel.close()
            throw error
        }
        let socket = try await dialled
        phases.end("guest")
        let limits = start.limits
        let connection = try await RPCClient.connect(
            socket: socket, limits: .agent { limits.reached($0, $1) }, on: start.loop)
        try start.has(\.connection, connection) { connection in Task { await connection.close() } }
        start.log.info("the guest is up", metadata: phases.metadata)
        return RunningMachine(
            vm: vm, fileServer: fileServer, channel: channel, connection: connection, relay: relay, logs: logs,
            origin: origin, beginning: start.beginning)
    }

    private func dialAgent(_ channel: any GuestChannel, _ vm: any VirtualMachine, _ plan: SandboxPlan) async throws
        -> Int32
    {
        let dial = PatientDial(limit: plan.dialTimeout, longest: plan.longestDial) {
            ProcessorDelay.longest(of: vm.pid)
        }
        return try await dial { try await channel.dial(port: GuestPort.agent, timeout: $0) }
    }

    private func startFileServer(_ start: MachineStart, _ logs: BoundedLogs) throws -> any FileServer {
        let (ledger, cgroups, paths, share) = (start.ledger, start.cgroups, start.paths, start.plan.share)
        let server = try share.start(
            exporting: paths.exported, socketPath: paths.virtiofs,
            log: try logs.open(paths.shareLog, limit: Self.shareLogLimit)
        ) { process throws(SystemError) in
            try ledger.add(.process(id: process, name: share.serverName))
            SandboxCgroups.preferAsVictims([process.pid])
            try cgroups?.admit(process.pid)
        }
        try start.has(\.fileServer, server) { $0.stop() }
        start.fileServerStarted(server)
        return server
    }

    /// The maximum of the file server's output that is kept, in bytes.
    private static let shareLogLimit = 64 << 10

    // MARK: The machine

    private func startMachine(_ start: MachineStart, _ logs: BoundedLogs) async throws -> (
        any VirtualMachine, RunningMachine.Origin
    ) {
        var configuration = start.plan.machine
        configuration.networkNamespace = start.networkNamespace
        if let template = start.plan.template {
            if let reason = template.unavailableReason(version: Version.current) {
                start.log.warning("no template is used: the machine boots", metadata: ["reason": "\(reason)"])
            } else {
                do { return (try await clone(template, as: configuration, start, logs), .clone) } catch let error
                    as UnusableTemplate
                {
                    start.log.warning(
                        "the template can't be used: the machine boots", metadata: ["reason": "\(error.reason)"])
                }
            }
        }
        return (try await run(configuration, start, logs), .booted)
    }

    private func run(
        _ configuration: VMConfiguration, _ start: MachineStart, _ logs: BoundedLogs, memory: SharedDescriptor? = nil
    ) async throws -> any VirtualMachine {
        let (ledger, cgroups, hypervisor) = (start.ledger, start.cgroups, start.plan.hypervisor)
        let vm = try await hypervisor.start(configuration, logs: logs, memory: memory?.raw, on: start.loop) {
            process throws(SystemError) in
            try ledger.add(.process(id: process, name: hypervisor.name.lowercased()))
            try cgroups?.admit(process.pid)
        }
        try start.has(\.vm, vm) { $0.kill() }
        return vm
    }

    /// The clone has nothing of the sandbox yet: a machine may still be booted instead.
    private struct UnusableTemplate: Error { let reason: String }

    private func clone(
        _ template: VMTemplate, as configuration: VMConfiguration, _ start: MachineStart, _ logs: BoundedLogs
    ) async throws -> any VirtualMachine {
        let vm: any VirtualMachine
        do {
            let memory = try template.emptyMemory()
            vm = try await run(template.configuration(for: configuration), start, logs, memory: memory)
            do {
                // While the hypervisor starts.
                try await blocking("memory") { try template.fill(memory) }
                try await template.restore(vm)
            } catch {
                await vm.stop(timeout: .zero)
                throw error
            }
        } catch { throw UnusableTemplate(reason: "\(error)") }
        // The sandbox ends a clone that fails here, after it has asked the hypervisor for the reason.
        try await template.resume(vm, as: configuration)
        start.log.info("the machine is a clone of a template", metadata: ["template": "\(template.directory)"])
        return vm
    }

    /// The times of a start, for the log (`make bench` draws them).
    private struct Phases {
        private(set) var metadata: Logger.Metadata = [:]
        private var began = ContinuousClock.now

        mutating func end(_ name: String) {
            let now = ContinuousClock.now
            metadata[name + "_ms"] = "\(Int((now - began) / .milliseconds(1)))"
            began = now
        }
    }
}
