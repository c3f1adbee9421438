import Glibc
import LinuxKernel
import Testing

/// The memory of this process. A test that measures it runs in a process of its own (`processExitsWith`), as other tests
/// take memory too.
package enum ResidentMemory {
    /// The most resident memory so far, in bytes (proc_pid_status(5)).
    package static var peak: Int { status("VmHWM") }

    /// Resident memory in bytes.
    package static var now: Int { status("VmRSS") }

    /// Resident memory of no file, in bytes.
    package static var anonymous: Int { status("RssAnon") }

    private static func status(_ field: String) -> Int {
        let line = ((try? Files.readText("/proc/self/status")) ?? "").split(separator: "\n").first {
            $0.hasPrefix(field + ":")
        }
        return (line?.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap { Int($0) } ?? 0) << 10
    }
}

extension Trait where Self == ConditionTrait {
    /// For tests that measure memory.
    package static var notUnderSanitizers: Self {
        .disabled(if: getenv("KATA_SANITIZER") != nil, "AddressSanitizer keeps freed memory for a while")
    }
}
