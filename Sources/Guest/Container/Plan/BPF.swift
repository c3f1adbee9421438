/// Instructions of BPF programs: opcodes are a class with a size, an operation or a source (linux/bpf_common.h,
/// linux/bpf.h).
enum BPF {
    /// Registers of extended BPF.
    enum Register: UInt8 {
        /// The program's result.
        case result = 0
        /// The program's context at its start; then scratch.
        case context = 1
        case second, third, fourth, fifth
    }

    /// The parts of an opcode.
    private enum Code {
        static let load: UInt8 = 0x00  // BPF_LD
        static let loadRegister: UInt8 = 0x01  // BPF_LDX
        static let arithmetic32: UInt8 = 0x04  // BPF_ALU
        static let jump: UInt8 = 0x05  // BPF_JMP
        static let classicReturn: UInt8 = 0x06  // BPF_RET
        static let arithmetic64: UInt8 = 0x07  // BPF_ALU64

        static let word: UInt8 = 0x00  // BPF_W
        static let absolute: UInt8 = 0x20  // BPF_ABS
        static let memory: UInt8 = 0x60  // BPF_MEM

        static let register: UInt8 = 0x08  // BPF_X
        static let and: UInt8 = 0x50  // BPF_AND
        static let shiftRight: UInt8 = 0x70  // BPF_RSH
        static let move: UInt8 = 0xb0  // BPF_MOV

        static let ifEqual: UInt8 = 0x10  // BPF_JEQ
        static let ifGreater: UInt8 = 0x20  // BPF_JGT
        static let ifGreaterOrEqual: UInt8 = 0x30  // BPF_JGE
        static let ifNotEqual: UInt8 = 0x50  // BPF_JNE
        static let leave: UInt8 = 0x90  // BPF_EXIT
    }

    // MARK: Extended BPF

    /// struct bpf_insn, from the lowest bit: opcode 8, destination 4, source 4, offset 16, immediate 32.
    private static func extended(
        _ opcode: UInt8, to: Register = .result, from: Register = .result, offset: Int16 = 0, value: UInt32 = 0
    ) -> UInt64 {
        UInt64(opcode) | UInt64(to.rawValue | from.rawValue << 4) << 8 | UInt64(UInt16(bitPattern: offset)) << 16
            | UInt64(value) << 32
    }

    /// Loads the 32-bit word of the context at `offset`.
    static func loadContext(_ to: Register, offset: Int16) -> UInt64 {
        extended(Code.loadRegister | Code.memory | Code.word, to: to, from: .context, offset: offset)
    }
    static func and(_ to: Register, _ value: UInt32) -> UInt64 {
        extended(Code.arithmetic32 | Code.and, to: to, value: value)
    }
    static func shiftRight(_ to: Register, _ bits: UInt32) -> UInt64 {
        extended(Code.arithmetic32 | Code.shiftRight, to: to, value: bits)
    }
    static func move(_ to: Register, from: Register) -> UInt64 {
        extended(Code.arithmetic32 | Code.move | Code.register, to: to, from: from)
    }
    static func set(_ to: Register, _ value: UInt32) -> UInt64 {
        extended(Code.arithmetic64 | Code.move, to: to, value: value)
    }

    /// Jumps over `count` instructions unless the register has the value.
    static func skip(_ count: Int16, unless left: Register, is value: UInt32) -> UInt64 {
        extended(Code.jump | Code.ifNotEqual, to: left, offset: count, value: value)
    }
    static func skip(_ count: Int16, if left: Register, is value: UInt32) -> UInt64 {
        extended(Code.jump | Code.ifEqual, to: left, offset: count, value: value)
    }
    static func skip(_ count: Int16, unless left: Register, equals right: Register) -> UInt64 {
        extended(Code.jump | Code.ifNotEqual | Code.register, to: left, from: right, offset: count)
    }
    static let exit = extended(Code.jump | Code.leave)

    // MARK: Classic BPF, for seccomp(2)

    /// struct sock_filter, from the lowest bit: opcode 16, jump if true 8, jump if false 8, value 32.
    private static func classic(_ opcode: UInt8, ifTrue: UInt8 = 0, ifFalse: UInt8 = 0, _ value: UInt32) -> UInt64 {
        UInt64(opcode) | UInt64(ifTrue) << 16 | UInt64(ifFalse) << 24 | UInt64(value) << 32
    }

    /// Loads a field of struct seccomp_data into the accumulator.
    static func load(_ field: SeccompField) -> UInt64 { classic(Code.load | Code.word | Code.absolute, field.rawValue) }

    /// Offsets in struct seccomp_data (linux/seccomp.h).
    enum SeccompField: UInt32 {
        case number = 0
        case architecture = 4
    }

    /// Jumps over some instructions, by a comparison of the accumulator.
    static func skip(_ count: UInt8, unlessEqual value: UInt32) -> UInt64 {
        classic(Code.jump | Code.ifEqual, ifFalse: count, value)
    }
    static func skip(_ count: UInt8, unlessGreater value: UInt32) -> UInt64 {
        classic(Code.jump | Code.ifGreater, ifFalse: count, value)
    }
    static func skip(ifTrue: UInt8, ifFalse: UInt8, atLeast value: UInt32) -> UInt64 {
        classic(Code.jump | Code.ifGreaterOrEqual, ifTrue: ifTrue, ifFalse: ifFalse, value)
    }
    static func answer(_ action: UInt32) -> UInt64 { classic(Code.classicReturn, action) }
}
