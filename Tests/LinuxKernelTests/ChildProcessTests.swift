import CLinux
import Glibc
import TestSupport
import Testing

@testable import LinuxKernel

@Suite("child processes")
struct ChildProcessTests {
    @Test("a child's exit status and signal are distinguished")
    func ends() throws {
        #expect(try ChildProcess(Command("/bin/sh", ["-c", "exit 7"])).wait() == .exited(7))
        let killed = try ChildProcess(Command("/bin/sh", ["-c", "kill -9 $$"])).wait()
        #expect(killed == .signalled(9))
        #expect(killed.status == 137)
    }

    @Test("a missing executable is named, with the step that failed")
    func missing() {
        #expect(throws: SystemError("execute", "/nowhere/at/all", errno: ENOENT)) {
            try ChildProcess(Command("/nowhere/at/all"))
        }
    }

    @Test("a variable that is set hides the inherited one, an unset one is removed")
    func environment() throws {
        var command = Command("/bin/sh", ["-c", "exit ${WANTED:-0}"], environment: ["WANTED=1", "WANTED2=5"])
        command.set("WANTED", "7")
        #expect(command.environment == ["WANTED2=5", "WANTED=7"])
        #expect(try ChildProcess(command).wait() == .exited(7))
        command.set("WANTED", nil)
        #expect(try ChildProcess(command).wait() == .exited(0))
    }

    @Test(
        "a child without privileges has no capability, and gets none by what it executes",
        .enabled(if: getuid() == 0, "needs root"))
    func privileges() throws {
        var command = Command(
            "/bin/sh",
            [
                "-c",
                "grep -Eq '^CapEff:.0+$' /proc/self/status && grep -Eq '^CapBnd:.0+$' /proc/self/status && ! mount -t tmpfs none /mnt",
            ])
        command.withoutPrivileges = true
        #expect(try ChildProcess(command).wait() == .exited(0))
    }

    @Test(
        "a child and its programs have the capabilities of its bounding set, and no others",
        .enabled(if: getuid() == 0, "needs root"))
    func bounding() throws {
        func sets(_ bounding: CapabilitySet) throws -> [CapabilitySet?] {
            var command = Command("/bin/sh", ["-c", "cat /proc/self/status"])
            command.bounding = bounding
            let child = try ChildWithOutput(command, output: [1])
            let status = String(decoding: try child.output.readAll("status", limit: 1 << 16), as: UTF8.self)
            #expect(child.process.wait() == .exited(0))
            return ["CapBnd:", "CapPrm:", "CapEff:"].map { CapabilitySet($0, in: status) }
        }
        let some = CapabilitySet([.dacOverride, .sysAdmin])
        #expect(try sets(some) == [some, some, some])
        let own = try #require(CapabilitySet("CapBnd:", in: Files.readText("/proc/self/status")))
        #expect(try sets(.all).first == own)
    }

    @Test("an idle child has a name, little memory and no descriptors, and reports its signals until it is killed")
    func idle() async throws {
        func start() throws -> (ChildProcess, SharedDescriptor) {
            let report = try Pipe()
            let child = try ChildProcess(Command.idle(named: "idle c1", report: report.writeEnd.raw))
            return (child, SharedDescriptor(try report.readEnd.duplicate()))
        }
        let (child, report) = try start()
        try await eventually { (try? Files.readText("/proc/\(child.pid)/cmdline"))?.hasPrefix("idle c1\0") == true }
        #expect(Set(Files.list("/proc/\(child.pid)/fd")) == ["0", "1", "2", "3"])
        for number in [SIGTERM, SIGUSR1, SIGSEGV] {
            child.signal(number)
            var byte: UInt8 = 0
            #expect(read(report.raw, &byte, 1) == 1 && Int32(byte) == number)
        }
        let memory = try Files.readText("/proc/\(child.pid)/smaps_rollup").split(separator: "\n")
            .first { $0.hasPrefix("Pss:") }?.split(separator: " ")[1]
        #expect(try #require(memory.flatMap { Int($0) }) <= 64)
        child.signal(SIGKILL)
        #expect(child.wait() == .signalled(SIGKILL))
        var byte: UInt8 = 0
        #expect(read(report.raw, &byte, 1) == 0)
    }

    @Test(
        "an idle child that is the first process of a pid namespace reaps its orphans",
        .enabled(if: getuid() == 0, "needs root"))
    func idleReaps() async throws {
        let report = try Pipe()
        var command = Command.idle(named: "idle", report: report.writeEnd.raw)
        command.newNamespaces = UInt64(clx_new_pid.rawValue)
        let child = try ChildProcess(command)
        defer {
            child.signal(SIGKILL)
            _ = child.wait()
        }
        let shell = Command("/usr/bin/nsenter", ["--pid=/proc/\(child.pid)/ns/pid", "sh", "-c", "sleep 0 & exec true"])
        #expect(try ChildProcess(shell).wait() == .exited(0))
        let children = "/proc/\(child.pid)/task/\(child.pid)/children"
        try await eventually { try Files.readText(children).isEmpty }
        #expect(kill(child.pid, 0) == 0)
    }

    @Test("an idle child costs little time beside a program")
    func idleCost() throws {
        let report = try Pipe()
        let start = ContinuousClock.now
        let count = 50
        for _ in 0..<count {
            let child = try ChildProcess(Command.idle(named: "idle", report: report.writeEnd.raw))
            child.signal(SIGKILL)
            _ = child.wait()
        }
        #expect((ContinuousClock.now - start) / count < .milliseconds(50))
    }

    @Test("no child dumps core, whatever its parent's limit is")
    func coreDumps() throws {
        let scratch = Scratch()
        var own = rlimit()
        #expect(getrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &own) == 0)
        let before = own
        own.rlim_cur = own.rlim_max
        #expect(setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &own) == 0)
        defer {
            own = before
            setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &own)
        }
        var command = Command("/bin/sh", ["-c", "grep '^Max core' /proc/self/limits; kill -ABRT $$"])
        command.directory = scratch.path
        let child = try ChildWithOutput(command, output: [1])
        let words = String(decoding: try child.output.readAll("limits", limit: 4096), as: UTF8.self)
            .split(whereSeparator: \.isWhitespace)
        // One byte is too little for a file, and a value that ends a dump through a pipe (clx_forbid_core_dumps).
        #expect(words.dropFirst(4).prefix(2) == ["1", "1"] || words.dropFirst(4).prefix(2) == ["0", "0"], "\(words)")
        #expect(child.process.wait() == .signalled(SIGABRT))
        #expect(Files.list(scratch.path) == [])
    }

    @Test(
        "a child with a private root sees only given paths, through links too, can't write there, and sees no other process",
        .enabled(if: getuid() == 0, "needs root"))
    func ownRoot() throws {
        let base = "/tmp/kata-root-\(UInt32.random(in: 0...UInt32.max))"
        defer { Files.removeTree(base) }
        try Files.makeDirectory(base + "/secret")
        try Files.write(base + "/given", "given\n", mode: 0o644)
        #expect(symlink("given", base + "/link") == 0 && symlink("loop", base + "/loop") == 0)
        let script = """
            cat \(base)/link; ls -d \(base)/* /etc /home; echo /proc/[0-9]*; id -u; id -G; : > /dev/null && echo null
            (: >> \(base)/given); (: > /new)
            """
        var command = Command("/bin/sh", ["-c", script])
        command.root = PrivateRoot(
            directory: base + "/root",
            paths: ["/bin", "/lib", "/lib64", "/usr/bin", "/usr/lib", base + "/link", base + "/loop", base + "/none"],
            devices: ["/dev/null"])
        command.newNamespaces = UInt64(clx_new_pid.rawValue)
        command.user = ProcessUser(user: 4242, group: 4243, groups: [4244])
        command.withoutPrivileges = true
        let child = try ChildWithOutput(command, output: [1, 2])
        let said = try child.output.readAll("the child's words", limit: 1 << 16)
        #expect(
            String(decoding: said, as: UTF8.self) == """
                given
                ls: cannot access '/etc': No such file or directory
                ls: cannot access '/home': No such file or directory
                \(base)/given
                \(base)/link
                /proc/1
                4242
                4243 4244
                null
                /bin/sh: 2: cannot create \(base)/given: Permission denied
                /bin/sh: 2: cannot create /new: Read-only file system

                """)
        _ = child.process.wait()
        #expect(!Files.exists(base + "/root/bin/sh"))
    }

    @Test(
        "a child that changes its user still ends with the thread that started it",
        .enabled(if: getuid() == 0, "needs root"))
    func endsWithParent() throws {
        let pipe = try Pipe()
        let write = pipe.writeEnd.raw
        nonisolated(unsafe) var child: ChildProcess?
        try runThread("parent") {
            var command = Command("/bin/sh", ["-c", "sleep 60"])
            command.descriptors = [1: write]
            command.user = ProcessUser(user: 4242, group: 4242)
            command.diesWithParent = true
            child = try? ChildProcess(command) { _ in }
        }
        #expect(try #require(child).wait() == .signalled(SIGKILL))
    }

    @Test("a child has the descriptors of its table and no others")
    func descriptors() throws {
        var ends: [Int32] = [0, 0]
        #expect(pipe(&ends) == 0)
        let read = FileDescriptor(owning: ends[0])
        var command = Command("/bin/sh", ["-c", "ls /proc/self/fd >&5"])
        command.descriptors = [5: ends[1]]
        let child = try ChildProcess(command)
        close(ends[1])
        var bytes = [UInt8](repeating: 0, count: 256)
        let raw = read.raw
        let count = bytes.withUnsafeMutableBytes { Glibc.read(raw, $0.baseAddress, $0.count) }
        #expect(child.wait() == .exited(0))
        // ls itself opens the directory as descriptor 3.
        #expect(String(decoding: bytes[..<count], as: UTF8.self) == "0\n1\n2\n3\n5\n")
    }
}

@Suite("files")
struct FileTests {
    private func temporaryDirectory() throws -> String {
        var template = Array("/tmp/kata-files-XXXXXX".utf8CString)
        let made = template.withUnsafeMutableBufferPointer { mkdtemp($0.baseAddress!).map { String(cString: $0) } }
        return try #require(made)
    }

    @Test("a replaced file is whole and leaves no temporary beside it")
    func replace() throws {
        let directory = try temporaryDirectory()
        defer { Files.removeTree(directory) }
        try Files.replace(directory + "/state", "one")
        try Files.replace(directory + "/state", "two")
        #expect(try Files.readText(directory + "/state") == "two")
        #expect(Files.list(directory) == ["state"])
    }

    @Test("replacing a file doesn't write through a link at its temporary's name")
    func replaceBesideLink() throws {
        let directory = try temporaryDirectory()
        defer { Files.removeTree(directory) }
        try Files.write(directory + "/precious", "here")
        #expect(symlink(directory + "/precious", directory + "/state.new") == 0)
        try Files.replace(directory + "/state", "one")
        #expect(try Files.readText(directory + "/precious") == "here")
        #expect(try Files.readText(directory + "/state") == "one" && !Files.isLink(directory + "/state"))
    }

    @Test("removing a tree removes links, not what they lead to")
    func removeTree() throws {
        let kept = try temporaryDirectory()
        let removed = try temporaryDirectory()
        defer { Files.removeTree(kept) }
        try Files.write(kept + "/precious", "here")
        try Files.makeDirectory(removed + "/a/b/c")
        #expect(symlink(kept, removed + "/a/link") == 0)
        Files.removeTree(removed)
        #expect(!Files.exists(removed))
        #expect(Files.exists(kept + "/precious"))
    }

    @Test("an error names operation, object and cause")
    func errors() {
        let error = #expect(throws: SystemError.self) { try Files.read("/nowhere/state") }
        #expect(error?.description == "open /nowhere/state: no such file or directory")
    }

    @Test("a socket path that does not fit is refused, not cut")
    func longSocketPath() {
        let path = "/tmp/" + String(repeating: "x", count: 200)
        let error = #expect(throws: SystemError.self) { _ = try UnixSocket.listen(path).raw }
        #expect(error?.code == ENAMETOOLONG)
    }
}
