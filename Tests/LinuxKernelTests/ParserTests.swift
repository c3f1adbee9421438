import Glibc
import Testing

@testable import LinuxKernel

@Suite("Parsers of the kernel's texts")
struct ParserTests {
    @Test("a line of mountinfo has all its fields, with escaped blanks as they are")
    func mounts() throws {
        // Lines of proc_pid_mountinfo(5), one without and one with optional fields.
        let table = MountTable.parse(
            """
            36 35 98:0 /mnt1 /mnt2\\040x rw,noatime master:1 - ext3 /dev/root rw,errors=continue
            37 35 0:29 / /sys/fs/cgroup ro - cgroup2 cgroup2 rw
            38 35 0:30 / /cut rw shared:1 -
            nonsense

            """)
        #expect(table.map(\.mountPoint) == ["/mnt2 x", "/sys/fs/cgroup"])
        let first = try #require(table.first)
        #expect(first.device == "98:0" && first.root == "/mnt1" && first.options == ["rw", "noatime"])
        #expect(first.type == "ext3" && first.source == "/dev/root")
        #expect(first.superOptions == ["rw", "errors=continue"])
        #expect(try MountTable.read().contains { $0.mountPoint == "/" })
    }

    @Test("a process's name may hold parentheses and blanks")
    func statistics() throws {
        let line =
            "71 (a) S (b)) T 9 71 70 34816 71 4194304 1 2 3 4 15 6 7 8 20 -5 3 0 9876 4096 12 18446744073709551615 1\n"
        let found = try #require(ProcessStatistics(line))
        #expect(found.pid == 71 && found.name == "a) S (b)" && found.state == "T")
        #expect(found.parent == 9 && found.group == 71 && found.session == 70)
        #expect(found.terminal.description == "136:0")
        #expect(found.ticks == 21 && found.nice == -5 && found.threads == 3)
        #expect(found.start == 9876 && found.virtualBytes == 4096 && found.residentPages == 12)
        for cut in ["", "71", "71 (a", "71 (a) S 1 2", ") S (", "(a) S 9 71"] { #expect(ProcessStatistics(cut) == nil) }
        let own = try #require(try ProcessStatistics.find(getpid()))
        #expect(own.pid == getpid() && own.parent == getppid())
        #expect(try ProcessStatistics.find(1 << 30) == nil)
    }

    @Test(
        "device numbers are split and joined as makedev(3) does",
        arguments: [
            (8, 1, 0x801), (0, 0, 0x0), (259, 70000, 0x1111_0370), (4095, 255, 0xfffff), (4096, 256, 0x1000_0010_0000),
        ] as [(UInt32, UInt32, UInt64)])
    func deviceNumbers(major: UInt32, minor: UInt32, raw: UInt64) {
        let number = DeviceNumber(major: major, minor: minor)
        #expect(number.raw == raw)
        #expect(number.major == major && number.minor == minor && number.description == "\(major):\(minor)")
    }

    @Test(
        "lists of processors",
        arguments: [
            ("0-3,7", [0, 1, 2, 3, 7]), ("5", [5]), ("", []), ("1,1-2", [1, 2]), ("1\n", nil), ("0 -1", nil),
            ("3-1", nil), ("a", nil), ("1,", nil), ("1,,2", nil), ("-", nil), ("1-", nil), ("0-8192", nil), ("-1", nil),
            ("1-2-3", nil), ("8191", [8191]), ("0-9999999999999999999", nil),
        ] as [(String, [Int]?)])
    func processors(text: String, expected: [Int]?) { #expect(CPUList(text)?.sorted == expected) }

    @Test("a thread's wait for processors is the second number of its schedstat")
    func processorDelay() {
        #expect(ProcessorDelay.delay(in: "308396 128399 2\n") == .nanoseconds(128_399))
        for line in ["", "1 2", "1 x 3", "1 2 3 4"] { #expect(ProcessorDelay.delay(in: line) == nil) }
    }
}
