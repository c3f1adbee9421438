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

    /// - Parameter wanted: `auto`, `kvm` or `tcg`.
    package static func choose(_ wanted: String, device: String = "/dev/kvm", note: String = "/run/vc/kvm") -> Choice {
        if let forced = Accelerator(rawValue: wanted) { return Choice(forced, "the configuration asks for \(wanted)") }
        return probe(device: device, note: note)
    }

    /// The result of the code that a virtual processor of KVM was given.
    enum Trial: Equatable {
        /// The code came to its end, with the right answer.
        case ran(microseconds: Int64)
        /// The code came to another end: something other than a processor runs it.
        case misbehaved
        case late
        /// The kernel refused to make a machine, or to run it.
        case refused(errno: Int32)

        init(_ result: Int64) {
            self =
                switch result {
                case 0...: .ran(microseconds: result)
                case -Int64(ENOTSUP): .misbehaved
                case -Int64(ETIME): .late
                default: .refused(errno: Int32(-result))
                }
        }

        /// The number that the note keeps; nil when another try may have another result.
        var note: Int64? {
            switch self {
            case .ran(let microseconds): microseconds
            case .misbehaved: -Int64(ENOTSUP)
            case .late, .refused: nil
            }
        }
    }

    /// The maximum time of the code. Hardware needs 30 µs, an emulated processor that virtualises 25 ms.
    private static let limitMicroseconds: Int64 = 500_000

    /// Asks KVM to run what a guest's kernel needs: 64-bit code with paging, a page fault and vector registers.
    ///
    /// An open /dev/kvm proves nothing: without hardware virtualisation a module may emulate some instructions, and no
    /// Linux guest boots. Time proves nothing either: a processor that is emulated itself is slow, and right.
    /// - Parameter note: the file that keeps the result.
    package static func probe(device: String = "/dev/kvm", note: String = "/run/vc/kvm") -> Choice {
        // The note is valid only for this device node: a start of the host or the module makes a new one.
        var facts = stat()
        // SAFETY: stat(2) reads the path and fills the whole structure.
        guard unsafe stat(device, &facts) == 0 else { return judge(.refused(errno: errno), device: device) }
        let node = "\(device) \(facts.st_ino) \(facts.st_ctim.tv_sec).\(facts.st_ctim.tv_nsec) code "
        if let known = try? Files.readText(note), known.hasPrefix(node), let result = Int64(known.dropFirst(node.count))
        {
            return judge(Trial(result), device: device)
        }
        // SAFETY: the call reads the path; its machine runs in memory of its own.
        let trial = unsafe Trial(clx_kvm_probe(device, limitMicroseconds))
        if let result = trial.note {
            try? Files.makeDirectory(Files.parent(of: note))
            try? Files.replace(note, "\(node)\(result)")
        }
        return judge(trial, device: device)
    }

    /// Decides from the trial, and says what to do where KVM can't be used.
    /// - Parameter processor: the flags of the host's processor; they tell a missing module from a missing feature.
    static func judge(_ trial: Trial, device: String, processor: () -> Set<Substring> = flags) -> Choice {
        switch trial {
        case .ran(let time):
            return Choice(
                .kvm, "\(device) runs a kernel's code: paging, a page fault and vector registers in \(time) µs")
        case .misbehaved:
            return Choice(.tcg, "\(device) emulates instructions in software, and can't run a guest's kernel")
        case .late:
            return Choice(
                .tcg, "\(device) is too slow: code of some microseconds took more than \(limitMicroseconds / 1000) ms")
        case .refused(let error):
            let text = "\(device) can't be used: \(SystemError.text(of: error))"
            return Choice(.tcg, advice(on: error, processor).map { "\(text); \($0)" } ?? text)
        }
    }

    private static func advice(on error: Int32, _ processor: () -> Set<Substring>) -> String? {
        switch error {
        case EACCES, EPERM: return "only its owner and group may open it"
        case EBUSY: return "another hypervisor uses the processor's virtualisation"
        case ENOENT, ENODEV, ENXIO:
            let flags = processor()
            if flags.contains("vmx") { return "load the module kvm_intel" }
            if flags.contains("svm") { return "load the module kvm_amd" }
            return "the processor offers no virtualisation: see the firmware's setup, or nested virtualisation in a VM"
        default: return nil
        }
    }

    /// The processor's features, by /proc/cpuinfo.
    private static func flags() -> Set<Substring> {
        let lines = ((try? Files.readText("/proc/cpuinfo")) ?? "").split(separator: "\n")
        return Set(lines.first { $0.hasPrefix("flags") }?.split(separator: " ") ?? [])
    }
}
