import AgentAPI
import Cleanup
import EventLoop
import Glibc
import Hypervisor
import LinuxKernel
import OCISpec
import Stdio
import TTRPC

/// A warm sandbox: booted in advance under a temporary name, until a sandbox takes its machine.
package struct WarmSandbox: Sendable {
    package let sandbox: Sandbox
    package let fingerprint: VMFingerprint

    /// - Parameter version: this program's version.
    package init(_ sandbox: Sandbox, version: String) {
        self.sandbox = sandbox
        fingerprint = sandbox.plan.fingerprint(version: version)
    }

    /// The reason why a sandbox of this plan can't have the machine; nil where it can.
    package func unavailableReason(for plan: SandboxPlan, version: String) -> String? {
        fingerprint.mismatch(with: plan.fingerprint(version: version)).map { "it was made \($0)" }
    }

    /// Ends the machine that a sandbox can't have. The ledger may have records of that sandbox's first container.
    package func end(inPlaceOf sandbox: Sandbox) async { await self.sandbox.stop(upTo: sandbox.beginning) }
}

/// The machine of a warm sandbox. The ledger already has the new sandbox's name.
struct WarmMachine: MachineSource {
    let warm: WarmSandbox

    func acquire(_ start: MachineStart) async throws -> RunningMachine {
        var machine = try await warm.sandbox.giveMachine()
        machine.origin = .warm
        do { try start.has(machine.parts) } catch {
            await end(machine, start)
            throw error
        }
        SandboxCgroups.preferAsVictims(machine.fileServer.processes)
        start.fileServerStarted(machine.fileServer)
        try await start.vmStarted(machine.vm, .warm)
        start.log.info("the machine was warm", metadata: ["warm": "\(warm.sandbox.id)"])
        return machine
    }

    /// Ends a machine that neither sandbox has.
    private func end(_ machine: RunningMachine, _ start: MachineStart) async {
        await machine.connection.close()
        await machine.parts.endMachine(grace: .zero)
        machine.parts.close()
        // The new sandbox undoes its own records.
        try? await blocking("cleanup") { start.ledger.undo(after: machine.beginning, upTo: start.beginning) }
    }
}

extension Sandbox {
    /// Runs a first container without a user, and removes it: the first one takes host and guest several times as
    /// long.
    /// - Throws: `SandboxError` (`guest`) for an agent without `specJSON`, or a program that does not end with status
    ///   0. `SystemError` when the bundle can't be written. Errors of a container's creation, start and deletion.
    package func warmUp() async throws {
        guard machine?.agentFeatures.contains(AgentFeature.specJSON) == true else {
            throw SandboxError(.guest, "the guest's agent is another one: a machine with it can't be had ready")
        }
        let id = "warm-up"
        let bundle = paths.machine + "/" + id
        try Files.makeDirectory(bundle + "/rootfs")
        defer { Files.removeTree(bundle) }
        try Files.write(bundle + "/rootfs/program", WarmUpProgram.bytes, mode: 0o755)
        var spec = Spec.example
        spec.process?.args = ["/program"]
        spec.process?.terminal = false
        // The streams of a real container; the machine's own network is not used.
        let key = try reserve(
            id, bundle: bundle, streams: StreamPaths(stdin: "/dev/null", stdout: "/dev/null", stderr: "/dev/null"))
        do {
            try await create(
                ContainerRequest(key, bundle: bundle, rootfs: .directory(bundle + "/rootfs"), spec: spec))
            try await start(container: id)
            let end = try await wait(container: id)
            guard end.status == 0 else {
                throw SandboxError(.guest, "the warm-up program ended with status \(end.status), not 0")
            }
            _ = try await delete(container: id)
        } catch {
            await release(key)
            throw error
        }
    }

    /// Returns when the machine has ended.
    package func waitForMachine() async { _ = await machine?.vm.waitForExit() }

    /// This process and the machine's, on the host.
    package var processes: [Int32] {
        [getpid()] + (machine.map { [$0.vm.pid] + $0.fileServer.processes } ?? [])
    }
}

enum WarmUpProgram {
    /// An ELF executable (elf(5)) of one segment for x86-64: writes a line, then exits with 0.
    static let bytes: [UInt8] = {
        let code: [UInt8] =
            // write(1, message, 10)
            [0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0x48, 0x8d, 0x35, 0x10, 0, 0, 0, 0xba, 10, 0, 0, 0, 0x0f, 0x05]
            // exit(0)
            + [0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05] + Array("warmed up\n".utf8)
        func word<Value: FixedWidthInteger>(_ value: Value) -> [UInt8] {
            // SAFETY: a number has no padding; its bytes are copied at once.
            unsafe withUnsafeBytes(of: value.littleEndian) { unsafe Array($0) }
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
