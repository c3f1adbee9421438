import Glibc
import LinuxKernel

/// Statistics of the guest and the agent in Prometheus' text format, under Kata's names.
package struct GuestMetrics: Sendable {
    private var text = ""

    /// Reads the agent's and the guest's files below /proc.
    static func current(startup: [(point: String, seconds: Double)]) -> String {
        var metrics = GuestMetrics()
        metrics.family(
            "kata_agent_startup_seconds", "Uptime of the guest when its agent began, and when it listened.",
            startup.map { (item($0.point), "\($0.seconds)") })
        func read(_ path: String) -> String { (try? Files.readText(path)) ?? "" }
        metrics.addAgent(
            statistics: read("/proc/self/stat"), status: read("/proc/self/status"), io: read("/proc/self/io"))
        metrics.addGuest(
            load: read("/proc/loadavg"), memory: read("/proc/meminfo"), pages: read("/proc/vmstat"),
            processors: read("/proc/stat"), disks: read("/proc/diskstats"), links: read("/proc/net/dev"))
        return metrics.text
    }

    /// Time since the boot of the guest's kernel (CLOCK_BOOTTIME).
    static func uptime() -> Double {
        var time = timespec()
        // SAFETY: the call writes to `time`.
        unsafe clock_gettime(CLOCK_BOOTTIME, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec / 1_000_000) / 1000
    }

    package init() {}
    package var report: String { text }

    /// A family: its help, its type, then a line for each of its values.
    private mutating func family(
        _ name: String, _ help: String, label: String? = nil, _ values: [(labels: String, value: String)]
    ) {
        guard !values.isEmpty else { return }
        text += "# HELP \(name) \(help)\n# TYPE \(name) gauge\n"
        for (labels, value) in values {
            text += labels.isEmpty ? "\(name) \(value)\n" : "\(name){\(labels)} \(value)\n"
        }
    }

    private static func item(_ name: some StringProtocol) -> String { "item=\"\(name)\"" }

    /// Lines of `Name: value unit` as items; memory in bytes.
    private static func table(_ text: String) -> [(labels: String, value: String)] {
        text.split(separator: "\n").compactMap { line in
            let words = line.split { $0 == ":" || $0.isWhitespace }
            guard words.count >= 2, let value = UInt64(words[1]) else { return nil }
            let bytes = words.last == "kB" ? value &* 1024 : value
            return (item(words[0].lowercased()), "\(bytes)")
        }
    }

    package mutating func addAgent(statistics: String, status: String, io: String) {
        if let process = ProcessStatistics(statistics) {
            let page = UInt64(max(1, sysconf(Int32(_SC_PAGESIZE))))
            let ticks = Double(max(1, sysconf(Int32(_SC_CLK_TCK))))
            family(
                "kata_agent_total_rss", "Agent process total rss usage", [("", "\(process.residentPages &* page)")])
            family("kata_agent_total_vm", "Agent process total vm usage", [("", "\(process.virtualBytes)")])
            family("kata_agent_total_time", "Agent process total time", [("", "\(Double(process.ticks) / ticks)")])
            family("kata_agent_threads", "Agent process threads", [("", "\(process.threads)")])
        }
        family(
            "kata_agent_proc_status", "Agent process status.",
            Self.table(status).filter { !$0.labels.contains("_mask") })
        family("kata_agent_io_stat", "Agent process IO statistics.", Self.table(io))
    }

    package mutating func addGuest(
        load: String, memory: String, pages: String, processors: String, disks: String, links: String
    ) {
        let words = load.split(separator: " ")
        if words.count >= 4 {
            family(
                "kata_guest_load", "Guest system load.",
                zip(["load1", "load5", "load15"], words).map { (Self.item($0), String($1)) })
            let tasks = words[3].split(separator: "/")
            if tasks.count == 2 {
                family(
                    "kata_guest_tasks", "Guest system load.",
                    [(Self.item("cur"), String(tasks[0])), (Self.item("max"), String(tasks[1]))])
            }
        }
        family("kata_guest_meminfo", "Statistics about memory usage in the system.", Self.table(memory))
        family("kata_guest_vm_stat", "Guest virtual memory statistics.", Self.table(pages))
        let modes = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice"]
        family(
            "kata_guest_cpu_time", "Guest CPU statistics.",
            processors.split(separator: "\n").filter { $0.hasPrefix("cpu") }.flatMap { line in
                let words = line.split(separator: " ")
                let name = words[0] == "cpu" ? "total" : String(words[0].dropFirst(3))
                return zip(modes, words.dropFirst()).map { ("cpu=\"\(name)\",\(Self.item($0))", String($1)) }
            })
        let figures = [
            "reads", "reads_merged", "sectors_read", "time_reading", "writes", "writes_merged", "sectors_written",
            "time_writing", "in_progress", "time_in_progress", "weighted_time_in_progress",
        ]
        family(
            "kata_guest_diskstat", "Disks stat in system.",
            disks.split(separator: "\n").flatMap { line in
                let words = line.split(separator: " ")
                guard words.count >= 14 else { return [(labels: String, value: String)]() }
                return zip(figures, words.dropFirst(3)).map { ("disk=\"\(words[2])\",\(Self.item($0))", String($1)) }
            })
        let receive = ["bytes", "packets", "errs", "drop", "fifo", "frame", "compressed", "multicast"]
        let send = ["bytes", "packets", "errs", "drop", "fifo", "colls", "carrier", "compressed"]
        let counters = receive.map { "recv_" + $0 } + send.map { "sent_" + $0 }
        family(
            "kata_guest_netdev_stat", "Guest net devices stats.",
            links.split(separator: "\n").flatMap { line in
                let words = line.split { $0 == ":" || $0 == " " }
                guard words.count == 17 else { return [(labels: String, value: String)]() }
                return zip(counters, words.dropFirst()).map {
                    ("interface=\"\(words[0])\",\(Self.item($0))", String($1))
                }
            })
    }
}
