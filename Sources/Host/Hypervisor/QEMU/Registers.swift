import Hypervisor

extension ProcessorState {
    /// Reads the answer to `info registers` (target/i386/cpu-dump.c); nil where it has none.
    init?(registers text: String) {
        func number(_ name: String) -> UInt64? {
            guard let at = text.firstRange(of: name + "=")?.upperBound else { return nil }
            return UInt64(text[at...].prefix(while: \.isHexDigit), radix: 16)
        }
        guard let address = number("RIP") ?? number("EIP"), let privilege = number("CPL") else { return nil }
        if address >= Self.kernelStart {
            self = number("HLT") == 1 ? .idle : .kernel
        } else {
            self = privilege == 3 ? .program : .firmware
        }
    }

    /// The kernel's half of the addresses (Documentation/arch/x86/x86_64/mm.rst).
    private static let kernelStart: UInt64 = 0xffff_8000_0000_0000
}

extension QEMUMachine {
    package func processorState() async -> ProcessorState? {
        guard exit == nil, !isHalted, let monitor = try? await monitor(),
            let text = try? await monitor.query(QMP.HumanMonitorCommand(commandLine: "info registers"))
        else { return nil }
        return ProcessorState(registers: text)
    }
}
