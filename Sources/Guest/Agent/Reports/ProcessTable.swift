import Glibc
import LinuxKernel

/// A process with its user and arguments.
@dynamicMemberLookup
package struct ProcessEntry: Equatable, Sendable {
    package let statistics: ProcessStatistics
    /// The effective user.
    package let user: UInt32
    package var arguments: [String]

    /// - Parameters:
    ///   - stat: the line of /proc/PID/stat.
    ///   - commandLine: /proc/PID/cmdline, each argument ended by NUL.
    /// - Returns: nil when the line is cut short.
    package init?(stat: String, commandLine: [UInt8], user: UInt32) {
        guard let statistics = ProcessStatistics(stat) else { return nil }
        (self.statistics, self.user) = (statistics, user)
        arguments = commandLine.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
    }

    package subscript<Value>(dynamicMember field: KeyPath<ProcessStatistics, Value>) -> Value {
        statistics[keyPath: field]
    }

    /// Reads the process's present state; nil when it has ended.
    static func read(_ pid: Int32) -> ProcessEntry? {
        guard let stat = try? Files.readText("/proc/\(pid)/stat"), let command = try? Files.read("/proc/\(pid)/cmdline")
        else { return nil }
        let status = (try? Files.readText("/proc/\(pid)/status")) ?? ""
        // The second number is the effective user (proc_pid_status(5)).
        let users = status.split(separator: "\n").first { $0.hasPrefix("Uid:") }?.split(whereSeparator: \.isWhitespace)
        return ProcessEntry(stat: stat, commandLine: command, user: users.flatMap { UInt32($0[2]) } ?? 0)
    }
}

/// A list of processes in the format of ps(1), which a guest need not have.
package struct ProcessTable: Sendable {
    /// The values that an entry's numbers are relative to.
    package struct Clock: Sendable {
        package var ticksPerSecond: UInt64
        /// Seconds since boot, and the time of day at that moment.
        package var uptime: UInt64
        package var now: Int
        package var memoryBytes: UInt64
        package var pageBytes: UInt64

        package init(ticksPerSecond: UInt64, uptime: UInt64, now: Int, memoryBytes: UInt64, pageBytes: UInt64) {
            self.ticksPerSecond = max(1, ticksPerSecond)
            self.uptime = uptime
            self.now = now
            self.memoryBytes = max(1, memoryBytes)
            self.pageBytes = pageBytes
        }

        static var current: Clock {
            var time = timespec()
            // SAFETY: the call writes to `time`.
            unsafe clock_gettime(CLOCK_BOOTTIME, &time)
            let page = UInt64(max(1, sysconf(Int32(_SC_PAGESIZE))))
            return Clock(
                ticksPerSecond: UInt64(max(1, sysconf(Int32(_SC_CLK_TCK)))), uptime: UInt64(time.tv_sec),
                now: timeOfDay().tv_sec, memoryBytes: UInt64(max(1, sysconf(Int32(_SC_PHYS_PAGES)))) * page,
                pageBytes: page)
        }
    }

    private let columns: [Column]

    /// - Parameter options: options of ps(1): `-ef` (the default), `aux`, `-o FIELD,FIELD…`, `-e`, `-A`, `-f`, `-x`.
    /// - Throws: with the option or field that is unknown.
    package init(options: [String]) throws(ProcessTableError) {
        var named: [Column] = []
        var style = Self.full
        var rest = options[...]
        while let word = rest.popFirst() {
            let letters = word.drop { $0 == "-" }
            if let mark = letters.firstIndex(of: "o"), !letters[..<mark].contains(where: { !"eAaxf".contains($0) }) {
                let glued = String(letters[letters.index(after: mark)...])
                guard let fields = glued.isEmpty ? rest.popFirst() : glued else {
                    throw ProcessTableError("option -o needs a list of fields")
                }
                for field in fields.split(whereSeparator: { $0 == "," || $0 == " " }) {
                    let parts = field.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                    guard let column = Column.all.first(where: { $0.names.contains(String(parts[0])) }) else {
                        let known = Column.all.map { $0.names[0] }.joined(separator: ", ")
                        throw ProcessTableError("unknown field \"\(parts[0])\" of -o: known are \(known)")
                    }
                    named.append(column)
                }
            } else if letters.allSatisfy({ "eAaxfu".contains($0) }), !letters.isEmpty {
                if letters.contains("u") { style = Self.resources }
            } else {
                throw ProcessTableError("option \"\(word)\" of ps is not supported: use -ef, aux or -o FIELD,FIELD…")
            }
        }
        columns = named.isEmpty ? style.compactMap { name in Column.all.first { $0.names[0] == name } } : named
    }

    private static let full = ["uid", "pid", "ppid", "c", "stime", "tty", "time", "cmd"]
    private static let resources = [
        "user", "pid", "pcpu", "pmem", "vsz", "rss", "tty", "stat", "start", "time", "args",
    ]

    /// Formats a title line and one line for each process, with aligned columns.
    package func text(_ entries: [ProcessEntry], _ clock: Clock) -> String {
        let lines = [columns.map(\.title)] + entries.map { entry in columns.map { $0.value(entry, clock) } }
        let widths = columns.indices.map { index in lines.map { $0[index].count }.max() ?? 0 }
        return lines.map { line in
            columns.indices.map { index in
                let space = String(repeating: " ", count: widths[index] - line[index].count)
                if columns[index].right { return space + line[index] }
                return index == columns.count - 1 ? line[index] : line[index] + space
            }.joined(separator: " ") + "\n"
        }.joined()
    }

    private struct Column: Sendable {
        let names: [String]
        let title: String
        let right: Bool
        let value: @Sendable (ProcessEntry, Clock) -> String

        init(
            _ names: String..., title: String, right: Bool = true,
            _ value: @escaping @Sendable (ProcessEntry, Clock) -> String
        ) {
            self.names = names
            self.title = title
            self.right = right
            self.value = value
        }

        static let all: [Column] = [
            Column("uid", title: "UID", right: false) { entry, _ in name(of: entry.user) },
            Column("user", "euser", "ruser", title: "USER", right: false) { entry, _ in name(of: entry.user) },
            Column("pid", title: "PID") { entry, _ in "\(entry.pid)" },
            Column("ppid", title: "PPID") { entry, _ in "\(entry.parent)" },
            Column("pgid", "pgrp", title: "PGID") { entry, _ in "\(entry.group)" },
            Column("sid", "sess", "session", title: "SID") { entry, _ in "\(entry.session)" },
            Column("c", title: "C") { entry, clock in "\(share(entry, clock) / 10)" },
            Column("pcpu", "%cpu", title: "%CPU") { entry, clock in decimal(share(entry, clock)) },
            Column("pmem", "%mem", title: "%MEM") { entry, clock in
                decimal(entry.residentPages.saturatingProduct(clock.pageBytes, 1000) / clock.memoryBytes)
            },
            Column("vsz", "vsize", title: "VSZ") { entry, _ in "\(entry.virtualBytes / 1024)" },
            Column("rss", "rssize", title: "RSS") { entry, clock in
                "\(entry.residentPages.saturatingProduct(clock.pageBytes, 1) / 1024)"
            },
            Column("tty", "tt", "tname", title: "TTY", right: false) { entry, _ in terminal(entry.terminal) },
            Column("stat", "s", "state", title: "STAT", right: false) { entry, _ in
                "\(entry.state)" + (entry.nice < 0 ? "<" : entry.nice > 0 ? "N" : "")
                    + (entry.session == entry.pid ? "s" : "") + (entry.threads > 1 ? "l" : "")
            },
            Column("ni", "nice", title: "NI") { entry, _ in "\(entry.nice)" },
            Column("nlwp", "thcount", title: "NLWP") { entry, _ in "\(entry.threads)" },
            Column("stime", title: "STIME") { entry, clock in began(entry, clock) },
            Column("start", "start_time", "lstart", title: "START") { entry, clock in began(entry, clock) },
            Column("etime", title: "ELAPSED") { entry, clock in
                let seconds = elapsed(entry, clock)
                return seconds < 3600 ? "\(two(seconds / 60)):\(two(seconds % 60))" : span(seconds)
            },
            Column("time", "cputime", title: "TIME") { entry, clock in span(entry.ticks / clock.ticksPerSecond) },
            Column("comm", "ucmd", title: "COMMAND", right: false) { entry, _ in printable(entry.name) },
            Column("cmd", title: "CMD", right: false) { entry, _ in line(entry) },
            Column("args", "command", title: "COMMAND", right: false) { entry, _ in line(entry) },
        ]

        private static func name(of user: UInt32) -> String { user == 0 ? "root" : "\(user)" }

        private static func elapsed(_ entry: ProcessEntry, _ clock: Clock) -> UInt64 {
            let start = entry.start / clock.ticksPerSecond
            return clock.uptime > start ? clock.uptime - start : 0
        }

        /// The average processor use since its start, in thousandths.
        private static func share(_ entry: ProcessEntry, _ clock: Clock) -> UInt64 {
            entry.ticks.saturatingProduct(1000, 1) / clock.ticksPerSecond / max(1, elapsed(entry, clock))
        }

        private static func decimal(_ thousandths: UInt64) -> String { "\(thousandths / 10).\(thousandths % 10)" }
        private static func two(_ number: UInt64) -> String { number < 10 ? "0\(number)" : "\(number)" }
        private static func span(_ seconds: UInt64) -> String {
            "\(two(seconds / 3600)):\(two(seconds / 60 % 60)):\(two(seconds % 60))"
        }

        private static func began(_ entry: ProcessEntry, _ clock: Clock) -> String {
            var moment = clock.now - Int(clamping: elapsed(entry, clock))
            // SAFETY: gmtime_r(3) reads `moment` and writes to `parts`, whose pointer is not used.
            var parts = unsafe tm()
            unsafe gmtime_r(&moment, &parts)
            return unsafe "\(two(UInt64(parts.tm_hour))):\(two(UInt64(parts.tm_min)))"
        }

        /// The name of a terminal (Documentation/admin-guide/devices.txt).
        private static func terminal(_ number: DeviceNumber) -> String {
            let (major, minor) = (number.major, number.minor)
            switch major {
            case 136...143: return "pts/\((major - 136) * 256 + minor)"
            case 4: return minor < 64 ? "tty\(minor)" : "ttyS\(minor - 64)"
            case 5 where minor == 1: return "console"
            default: return "?"
            }
        }

        private static func line(_ entry: ProcessEntry) -> String {
            // A kernel thread or a zombie has no arguments.
            printable(entry.arguments.isEmpty ? "[\(entry.name)]" : entry.arguments.joined(separator: " "))
        }

        /// Replaces control characters: a process can't forge lines or drive the reader's terminal.
        private static func printable(_ text: String) -> String {
            String(text.unicodeScalars.map { $0.value < 32 || (127..<160).contains($0.value) ? "?" : Character($0) })
        }
    }
}

/// An option or field of ps(1) that is not supported.
package struct ProcessTableError: Error, CustomStringConvertible {
    package let description: String
    init(_ description: String) { self.description = description }
}

extension UInt64 {
    fileprivate func saturatingProduct(_ factors: UInt64...) -> UInt64 {
        factors.reduce(self) { product, factor in
            let (value, overflow) = product.multipliedReportingOverflow(by: factor)
            return overflow ? .max : value
        }
    }
}
