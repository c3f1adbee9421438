import CLinux
import Glibc
import LinuxKernel

/// The executor of the guest's instructions: hardware, or QEMU's own translator (TCG).
package enum Accelerator: String, Sendable, CaseIterable {
    case kvm, tcg

    /// The choice for this host, and the reason in one line.
    package struct Choice: Sendable, Equatable {
        package let accelerator: Accelerator
        package let reason: String
        package init(_ accelerator: Accelerator, _ reason: String) {
            self.accelerator = accelerator
            self.reason = reason
        }
    }

    /// Iterations of the probe's loop: hardware needs some 10 µs for them, software emulation 17 ms.
    private static let turns: UInt32 = 20_000
    /// The maximum time of a usable KVM for the loop.
    private static let limitMicroseconds: Int64 = 1000

    /// - Parameters:
    ///   - wanted: `auto`, `kvm` or `tcg`.
    ///   - note: the file that keeps the result: a probe of an emulated device takes 20 ms.
    package static func choose(_ wanted: String, device: String = "/dev/kvm", note: String = "/run/vc/kvm") -> Choice {
        if let forced = Accelerator(rawValue: wanted) { return Choice(forced, "the configuration asks for \(wanted)") }
        // The note is valid only for this device node: a start of the host or the module makes a new one.
        var facts = stat()
        guard unsafe stat(device, &facts) == 0 else { return judge(microseconds: -Int64(errno), device: device) }
        let node = "\(device) \(facts.st_ino) \(facts.st_ctim.tv_sec).\(facts.st_ctim.tv_nsec) "
        if let known = try? Files.readText(note), known.hasPrefix(node), let time = Int64(known.dropFirst(node.count)) {
            return judge(microseconds: time, device: device)
        }
        // The host may have been busy: takes the fastest of three probes.
        var time = unsafe clx_kvm_loop_microseconds(device, turns)
        for _ in 1..<3 where time > limitMicroseconds {
            time = unsafe min(time, clx_kvm_loop_microseconds(device, turns))
        }
        if time >= 0 {
            try? Files.makeDirectory(Files.parent(of: note))
            try? Files.replace(note, "\(node)\(time)")
        }
        return judge(microseconds: time, device: device)
    }

    /// Decides from the probe: a loop at the speed of hardware proves a usable KVM, an open device does not.
    static func judge(microseconds time: Int64, device: String) -> Choice {
        if time < 0 { return Choice(.tcg, "\(device) can't be used: \(SystemError.text(of: Int32(-time)))") }
        if time > limitMicroseconds {
            return Choice(
                .tcg,
                "\(device) emulates in software: \(turns) turns of a loop took \(time) µs, hardware takes less than \(limitMicroseconds)"
            )
        }
        return Choice(.kvm, "\(device) runs guest code in hardware: \(turns) turns of a loop took \(time) µs")
    }
}
