import Hypervisor
import LinuxKernel
import Streams

import protocol NIOCore.EventLoop

/// QEMU as a hypervisor, with the settings of `[hypervisor.qemu]` that no other kind has.
package struct QEMU: Hypervisor, Equatable {
    package var executable: String
    package var machineType = "q35"
    /// A comma list to append to -machine.
    package var machineAccelerators = ""
    package var accelerator: Accelerator.Choice
    /// A comma list to append to -cpu.
    package var cpuFeatures = ""
    /// The value of -sandbox.
    package var seccompSandbox = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"
    /// Half the host's bogomips × 1000. Guests under TCG get it on their command line: their own calibration is
    /// wrong.
    package var hostKilohertz = 0

    package init(executable: String, accelerator: Accelerator.Choice) {
        (self.executable, self.accelerator) = (executable, accelerator)
    }

    package var name: String { "QEMU" }

    package var capabilities: Capabilities {
        Capabilities(
            hotPlug: Set(Capabilities.Device.allCases),
            // QEMU 7.2's TCG crashes at the next hot-plug after a processor was removed.
            hotUnplug: accelerator.accelerator == .kvm ? [.processor, .disk, .network] : [.disk, .network],
            channels: [.vhostUserVsock, .vhostVsock], shares: [.virtioFS], hasSnapshots: true)
    }

    package var acceleration: Acceleration {
        Acceleration(
            name: accelerator.accelerator.rawValue, isHardware: accelerator.accelerator == .kvm,
            reason: accelerator.reason)
    }

    package var unusableReason: String? {
        guard accelerator.accelerator == .kvm else { return nil }
        let found = Accelerator.probe()
        return found.accelerator == .kvm ? nil : found.reason
    }

    /// Measured: docs/resources.md.
    package var ownMemoryMiB: Int {
        accelerator.accelerator == .kvm ? Self.programMiB : Self.programMiB + Self.translationBufferMiB + Self.tablesMiB
    }

    private static let programMiB = 48
    /// The maximum of translated code (`tb-size`). QEMU's default grows to a gigabyte.
    static let translationBufferMiB = 128
    /// TCG's tables beside the translated code.
    private static let tablesMiB = 32

    package func start(
        _ configuration: VMConfiguration, logs: BoundedLogs, memory: Int32?, on loop: any EventLoop,
        admit: @escaping (ProcessIdentity) throws(SystemError) -> Void
    ) async throws -> any VirtualMachine {
        try QEMUMachine.start(self, configuration, logs: logs, memory: memory, on: loop, admit: admit)
    }

    package func fingerprint(of configuration: VMConfiguration, helpers: [String], version: String) -> VMFingerprint {
        let machine = configuration.anonymous
        return VMFingerprint(
            version: version, arguments: QEMUArguments.build(self, machine) + helpers, booted: machine,
            programs: [executable] + helpers)
    }
}
