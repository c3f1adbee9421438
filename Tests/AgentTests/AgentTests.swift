import AgentAPI
import LinuxKernel
import Testing

@testable import Agent

@Suite("Figures of the guest, from its agent")
struct AgentTests {
    @Test(
        "the kernel's command line says whether there is a debug console, and where",
        arguments: [
            ("quiet", nil), ("quiet agent.debug_console", 1026), ("agent.debug_console=false", nil),
            ("agent.debug_console agent.debug_console_vport=77 x=y", 77), ("agent.debug_console_vport=77", nil),
        ] as [(String, UInt32?)])
    func commandLine(text: String, port: UInt32?) { #expect(KernelCommandLine(text).debugConsolePort == port) }

    @Test("what the agent warms up with is a container that it could make")
    func warmUp() throws {
        let plan = try WarmUp.plan()
        #expect(plan.process.arguments == ["sh"])
        #expect(plan.mounts.contains { $0.destination == "/dev/mqueue" })
        #expect(plan.limits.contains { $0.path == "memory.max" })
    }

    @Test("the hot-plug timeout is Kata's parameter on the kernel's command line, in seconds")
    func hotPlugTimeout() {
        #expect(KernelCommandLine("quiet").hotPlugTimeout == .seconds(3))
        #expect(KernelCommandLine("agent.hotplug_timeout=10").hotPlugTimeout == .seconds(10))
        #expect(KernelCommandLine("agent.hotplug_timeout=soon").hotPlugTimeout == .seconds(3))
        // The table of deadlines is made from the words of the source.
        #expect(Deadline.hotPlug.key == KernelArguments.hotPlugTimeout)
    }

    @Test("modules get their parameters from the kernel's command line")
    func modules() {
        let line = KernelCommandLine("quiet scsi_mod.scan=manual scsi_mod.x agent.log=debug scsi.y=1")
        #expect(line.parameters(ofModule: "/lib/modules/scsi-mod.ko") == "scan=manual x")
        #expect(line.parameters(ofModule: "/lib/modules/sd_mod.ko.xz") == "")
    }

    @Test(
        "a program that waits for a signal, ignores it or catches it, knows it; one that does nothing about it doesn't",
        arguments: [("4000", "0", "0"), ("0", "4000", "0"), ("0", "0", "4000"), ("2000", "8000", "bfff")])
    func signals(blocked: String, ignored: String, caught: String) {
        func mask(_ digits: String) -> String { String(repeating: "0", count: 16 - digits.count) + digits }
        let status =
            "Name:\tx\nSigQ:\t4000/1\nSigBlk:\t\(mask(blocked))\nSigIgn:\t\(mask(ignored))\nSigCgt:\t\(mask(caught))\n"
        #expect(GuestProcess.handles(15, status: status) == (caught != "bfff"))
    }

    @Test("a process that waits for signals is recognised by its system call; an ended one is not")
    func signalsWaited() {
        #expect(GuestProcess.isWaiting(syscall: "177 0x7ffd 0x0\n"))
        #expect(!GuestProcess.isWaiting(syscall: "running\n") && !GuestProcess.isWaiting(syscall: ""))
        #expect(GuestProcess.handles(15, status: ""))
    }

    private static let shell = ProcessEntry(
        stat: "42 (sh) S 1 42 42 34816 42 4194304 100 0 0 0 150 50 0 0 20 0 1 0 1000 4096000 256 18446744073709551615",
        commandLine: Array("sh\0-c\0sleep 9\0".utf8), user: 0)
    private static let clock = ProcessTable.Clock(
        ticksPerSecond: 100, uptime: 110, now: 3600 * 5 + 60 * 7, memoryBytes: 100 << 20, pageBytes: 4096)

    @Test("a process's name may hold anything")
    func names() throws {
        let entry = try #require(
            ProcessEntry(
                stat: "7 (a) R (b)) Z 3 7 7 0 -1 0 0 0 0 0 1 2 0 0 20 -5 2 0 9 0 0 0", commandLine: [], user: 1000))
        #expect(entry.name == "a) R (b)" && entry.state == "Z" && entry.parent == 3 && entry.nice == -5)
        #expect(entry.ticks == 3 && entry.threads == 2)
        for broken in ["", "7", "7 (a", "7 (a)", "7 )a( S 1", "x (a) S 1 2"] {
            #expect(ProcessEntry(stat: broken, commandLine: [], user: 0) == nil)
        }
    }

    @Test("ps -ef is the standard")
    func standardTable() throws {
        let entry = try #require(Self.shell)
        let text = try ProcessTable(options: []).text([entry], Self.clock)
        #expect(
            text == """
                UID  PID PPID C STIME TTY       TIME CMD
                root  42    1 2 05:05 pts/0 00:00:02 sh -c sleep 9

                """)
        #expect(try ProcessTable(options: ["-ef"]).text([entry], Self.clock) == text)
    }

    @Test("fields are chosen with -o, in all the forms of ps")
    func chosenFields() throws {
        let entry = try #require(Self.shell)
        for options in [["-o", "pid,rss,args"], ["-opid,rss", "-o", "args"], ["-eo", "pid,rss,command"]] {
            #expect(
                try ProcessTable(options: options).text([entry], Self.clock) == """
                    PID  RSS COMMAND
                     42 1024 sh -c sleep 9

                    """)
        }
        let percent = try ProcessTable(options: ["aux"]).text([entry], Self.clock)
        #expect(percent.contains("2.0") && percent.contains("1.0") && percent.contains("Ss"))
    }

    @Test("unknown words of ps are named", arguments: [["-Z"], ["-o"], ["-o", "pid,shoe"], ["--forest"]])
    func unknownOptions(options: [String]) {
        #expect(throws: ProcessTableError.self) { try ProcessTable(options: options) }
    }

    @Test("a process can't forge lines")
    func controlCharacters() throws {
        var entry = try #require(Self.shell)
        entry.arguments = ["a\n99 root", "\u{1b}[2J"]
        let text = try ProcessTable(options: ["-o", "args"]).text([entry], Self.clock)
        #expect(text == "COMMAND\na?99 root ?[2J\n")
    }

    @Test("figures have Kata's names and Prometheus' form")
    func metrics() {
        var metrics = GuestMetrics()
        metrics.addAgent(
            statistics: "1 (kata-agent) S 0 0 0 0 -1 0 0 0 0 0 100 100 0 0 20 0 3 0 9 8192 2",
            status: "VmRSS:\t  12 kB\nThreads:\t3\n", io: "rchar: 5\n")
        metrics.addGuest(
            load: "0.10 0.20 0.30 1/50 99", memory: "MemTotal:  100 kB\n", pages: "nr_free_pages 7\n",
            processors: "cpu  1 2 3 4\ncpu0 1 2 3 4\nintr 5\n",
            disks: " 254 0 vda 1 2 3 4 5 6 7 8 9 10 11\n",
            links: "Inter-|\n face |\n  lo: 1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0\n")
        let lines = metrics.report.split(separator: "\n").map(String.init)
        for line in [
            "# TYPE kata_agent_total_rss gauge", "kata_agent_total_rss 8192", "kata_agent_threads 3",
            "kata_agent_proc_status{item=\"vmrss\"} 12288", "kata_agent_io_stat{item=\"rchar\"} 5",
            "kata_guest_load{item=\"load5\"} 0.20", "kata_guest_tasks{item=\"cur\"} 1",
            "kata_guest_meminfo{item=\"memtotal\"} 102400", "kata_guest_vm_stat{item=\"nr_free_pages\"} 7",
            "kata_guest_cpu_time{cpu=\"total\",item=\"user\"} 1", "kata_guest_cpu_time{cpu=\"0\",item=\"idle\"} 4",
            "kata_guest_diskstat{disk=\"vda\",item=\"reads\"} 1",
            "kata_guest_netdev_stat{interface=\"lo\",item=\"sent_packets\"} 4",
        ] { #expect(lines.contains(line), "\(line)") }
    }
}
