import AgentAPI
import Cleanup
import EventLoop
import Glibc
import Hypervisor
import LinuxKernel
import OCISpec
import Storage
import Streams
import TTRPC

/// A sandbox that was booted for nobody, under a name of its own, until a real one goes on with its machine.
package struct Spare: Sendable {
    package let sandbox: Sandbox
    package let label: MachineLabel

    package init(_ sandbox: Sandbox, version: String) {
        self.sandbox = sandbox
        label = sandbox.plan.label(version: version)
    }

    /// Why a sandbox of this plan can't have it; nil when it can.
    package func obstacle(to plan: SandboxPlan, version: String) -> String? {
        label.difference(from: plan.label(version: version)).map { "it was made \($0)" }
    }
}

/// What goes from a spare sandbox to the one that takes its machine.
struct SpareParts: Sendable {
    let machine: QEMUVirtualMachine
    let share: VirtioFSDaemon
    let dialer: any GuestDialer
    let connection: RPCClient
    let relay: StreamRelay
    let logs: BoundedLogs
    let agentFeatures: [String]
    let memoryBlockMiB: Int
    let lastPort: UInt32
    let beginning: Ledger.RecordID
}

extension Sandbox {
    /// Goes on with the machine of a spare sandbox, in the place of `boot()`.
    ///
    /// The ledger's name is this sandbox's already.
    package func takeOver(_ spare: Spare) async throws {
        guard state == .empty else { throw SandboxError(.wrongState, "sandbox \(id) is \(state.rawValue), not empty") }
        state = .booting
        do {
            let parts = try await spare.sandbox.giveAway()
            (machine, share, dialer, connection) = (parts.machine, parts.share, parts.dialer, parts.connection)
            (relay, logs) = (parts.relay, parts.logs)
            (agentFeatures, memoryBlockMiB, lastPort) = (parts.agentFeatures, parts.memoryBlockMiB, parts.lastPort)
            (beginning, origin) = (parts.beginning, .spare)
            try makeGroups()
            HostGroups.preferAsVictims(parts.share.processes)
            try enterGroups(machine: parts.machine.pid, helpers: parts.share.processes)
            watch(parts.machine)
            watch(parts.share)
            network = network(in: try await plan.network.namespace.open(), of: parts.machine)
            try await join(AgentServiceClient(client: parts.connection), by: parts.dialer)
            log.info("the machine was ready before it was wanted", metadata: ["sandbox": "\(id)"])
        } catch {
            let reason = await explain(error)
            await stop()
            throw reason
        }
    }

    /// It has nothing any more, and nothing to end.
    fileprivate func giveAway() throws -> SpareParts {
        guard state == .ready, let machine, let share, let dialer, let connection, let relay, let logs,
            machine.end == nil
        else { throw SandboxError(.guest, "the spare machine of sandbox \(id) has ended") }
        defer {
            state = .gone
            (self.machine, self.share, self.dialer, self.connection) = (nil, nil, nil, nil)
            (self.relay, self.logs) = (nil, nil)
        }
        return SpareParts(
            machine: machine, share: share, dialer: dialer, connection: connection, relay: relay, logs: logs,
            agentFeatures: agentFeatures, memoryBlockMiB: memoryBlockMiB, lastPort: lastPort, beginning: beginning)
    }

    /// Makes a container that nobody wants, runs it, removes it: the first time, host and guest take several times as long.
    package func rehearse() async throws {
        guard agentFeatures.contains(AgentFeature.specJSON) else {
            throw SandboxError(.guest, "the guest's agent is another one: a machine with it can't be had ready")
        }
        let id = "rehearsal"
        let bundle = paths.machine + "/" + id
        try Files.makeDirectory(bundle + "/rootfs")
        defer { Files.removeTree(bundle) }
        try Files.write(bundle + "/rootfs/program", Rehearsal.program, mode: 0o755)
        var spec = Spec.example
        spec.process?.args = ["/program"]
        spec.process?.terminal = false
        // As in a real one; the machine's own network is not asked.
        try reserve(
            id, bundle: bundle, streams: StreamPaths(stdin: "/dev/null", stdout: "/dev/null", stderr: "/dev/null"))
        do {
            try await createContainer(id, bundle: bundle, rootfs: .directory(bundle + "/rootfs"), spec: spec)
            try await start(container: id)
            let end = try await wait(container: id)
            guard end.status == 0 else {
                throw SandboxError(.guest, "the rehearsal's program ended with status \(end.status), not 0")
            }
            _ = try await delete(container: id)
        } catch {
            release(id)
            throw error
        }
    }

    /// Returns when the machine has ended.
    package func waitForMachine() async { _ = await machine?.waitForExit() }

    /// What of this process and of the machine's is one of the host's processes.
    package var processes: [Int32] { [getpid()] + (machine.map { [$0.pid] } ?? []) + (share?.processes ?? []) }
}

enum Rehearsal {
    /// An ELF executable (elf(5)) of one segment for x86-64: writes a line, then exits with 0.
    static let program: [UInt8] = {
        let code: [UInt8] =
            // write(1, message, 10)
            [0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0x48, 0x8d, 0x35, 0x10, 0, 0, 0, 0xba, 10, 0, 0, 0, 0x0f, 0x05]
            // exit(0)
            + [0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05] + Array("rehearsal\n".utf8)
        func word<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
            withUnsafeBytes(of: value.littleEndian) { Array($0) }
        }
        let (base, headers) = (UInt64(0x40_0000), UInt64(64 + 56))
        let size = headers + UInt64(code.count)
        var file: [UInt8] = [0x7f, 0x45, 0x4c, 0x46, 2, 1, 1, 0] + [UInt8](repeating: 0, count: 8)
        file += word(UInt16(2)) + word(UInt16(62)) + word(UInt32(1)) + word(base + headers) + word(UInt64(64))
        file += word(UInt64(0)) + word(UInt32(0)) + word(UInt16(64)) + word(UInt16(56)) + word(UInt16(1))
        file += word(UInt16(64)) + word(UInt16(0)) + word(UInt16(0))
        file += word(UInt32(1)) + word(UInt32(5)) + word(UInt64(0)) + word(base) + word(base) + word(size) + word(size)
        file += word(UInt64(0x1000))
        return file + code
    }()
}
