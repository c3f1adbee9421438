/// The line of /proc/PID/stat (proc_pid_stat(5)).
package struct ProcessStatistics: Sendable, Equatable {
    package let pid: Int32
    /// At most 15 bytes of any content, parentheses and blanks included.
    package let name: String
    /// `R`, `S`, `D`, `T`, `t`, `Z`, `X` or `I`.
    package let state: Character
    private let numbers: [Substring]

    /// - Returns: nil when the line is cut short.
    package init?(_ line: String) {
        // The name may hold parentheses: the last one ends it.
        guard let open = line.firstIndex(of: "("), let close = line.lastIndex(of: ")"), open < close,
            let pid = Int32(line[..<open].filter(\.isNumber))
        else { return nil }
        let fields = line[line.index(after: close)...].split(whereSeparator: \.isWhitespace)
        guard fields.count >= Field.count, let state = fields[0].first else { return nil }
        self.pid = pid
        self.state = state
        name = String(line[line.index(after: open)..<close])
        numbers = fields
    }

    /// Reads the line of a process.
    /// - Returns: nil when there is no such process.
    /// - Throws: when /proc can't be read, for example for lack of a descriptor.
    package static func find(_ pid: Int32) throws(SystemError) -> ProcessStatistics? {
        guard let bytes = try Files.find("/proc/\(pid)/stat") else { return nil }
        return ProcessStatistics(String(decoding: bytes, as: UTF8.self))
    }

    /// Positions behind the name; proc_pid_stat(5) counts them from 3.
    private enum Field {
        static let parent = 1
        static let group = 2
        static let session = 3
        static let terminal = 4
        static let userTicks = 11
        static let systemTicks = 12
        static let nice = 16
        static let threads = 17
        static let start = 19
        static let virtualBytes = 20
        static let residentPages = 21
        static let count = 22
    }

    private func number<Number: FixedWidthInteger>(_ field: Int) -> Number { Number(numbers[field]) ?? 0 }

    package var parent: Int32 { number(Field.parent) }
    package var group: Int32 { number(Field.group) }
    package var session: Int32 { number(Field.session) }
    /// The device number of the controlling terminal; 0: none.
    package var terminal: DeviceNumber { DeviceNumber(UInt64(UInt32(bitPattern: number(Field.terminal)))) }
    package var nice: Int { number(Field.nice) }
    package var threads: Int { number(Field.threads) }
    /// Clock ticks in user mode and in the kernel.
    package var ticks: UInt64 { (number(Field.userTicks) as UInt64) &+ number(Field.systemTicks) }
    /// Clock ticks between the host's boot and the start of the process.
    package var start: UInt64 { number(Field.start) }
    package var virtualBytes: UInt64 { number(Field.virtualBytes) }
    package var residentPages: UInt64 { number(Field.residentPages) }
}
