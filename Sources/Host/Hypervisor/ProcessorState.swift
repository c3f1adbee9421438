/// Where a machine's first processor is: how far a guest came that says nothing.
package enum ProcessorState: Equatable, Sendable {
    /// Before the kernel: its entry in protected mode, or the firmware.
    case firmware
    case kernel
    /// In the kernel, with nothing to do.
    case idle
    /// A program, with a program's privileges.
    case program

    /// Reads what `info registers` says (target/i386/cpu-dump.c); nil where that says nothing.
    package init?(registers text: String) {
        func number(_ name: String) -> UInt64? {
            guard let at = text.firstRange(of: name + "=")?.upperBound else { return nil }
            return UInt64(text[at...].prefix(while: \.isHexDigit), radix: 16)
        }
        guard let address = number("RIP") ?? number("EIP"), let privilege = number("CPL") else { return nil }
        // The kernel's half of the addresses (Documentation/arch/x86/x86_64/mm.rst).
        if address >= 0xffff_8000_0000_0000 {
            self = number("HLT") == 1 ? .idle : .kernel
        } else {
            self = privilege == 3 ? .program : .firmware
        }
    }
}

extension QEMUVirtualMachine {
    /// nil when QEMU doesn't tell.
    package func processorState() async -> ProcessorState? {
        guard end == nil, !isHalted, let monitor = try? await monitor(),
            let text: String = try? await monitor.query(
                "human-monitor-command", #"{"command-line":"info registers"}"#)
        else { return nil }
        return ProcessorState(registers: text)
    }
}
