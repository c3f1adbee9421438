import Foundation
import Images
import LinuxKernel
import Testing

/// A place for tests with real guests: a root file system, a configuration, and shells with deadlines.
struct Lab: Sendable {
    static let source = ProcessInfo.processInfo.environment["KATA_VM_TESTS"]
    /// The reason why these tests can't run here; nil when they can.
    static let obstacle: String? =
        source == nil ? "run them with make vm" : getuid() != 0 ? "they mount file systems: run them as root" : nil

    /// The release (`uname -r`) of the kernel in out/guest.
    static let kernelName = hasOwnKernel ? "-kata" : "cloud-amd64"
    static let hasOwnKernel = ownKernelObstacle == nil
    /// The value of an option of the kernel in out/guest; nil when it is off.
    static func kernelOption(_ name: String) -> String? { kernelOptions.values[name] }
    private static let kernelOptions: KernelConfiguration = {
        // A line of two words: the owner, and its directory.
        let using = (try? Files.readText((source ?? "") + "/out/guest/kernel")) ?? ""
        let words = using.split(whereSeparator: \.isWhitespace)
        guard let root = words.last.map({ $0.hasPrefix("/") ? String($0) : "\(source!)/\($0)" }) else {
            return .init(text: "")
        }
        let boot = Files.list(root + "/boot").first { $0.hasPrefix("config-") }.map { "boot/" + $0 }
        return .init(text: (try? Files.readText("\(root)/\(boot ?? "config")")) ?? "")
    }()
    /// The reason why tests that need our own kernel can't run; nil when they can.
    static let ownKernelObstacle: String? = {
        if let obstacle { return obstacle }
        let using = (try? String(contentsOfFile: source! + "/out/guest/kernel", encoding: .utf8)) ?? ""
        return using.hasPrefix("own ") ? nil : "needs the project's own kernel: run make kernel"
    }()

    let directory: String
    private let start = ContinuousClock.now
    var rootfs: String { directory + "/rootfs" }
    var configuration: String { directory + "/configuration.toml" }
    var binaries: String { Lab.source! + "/.build-release/release" }
    var kata: String { "\(binaries)/kata-runtime --root \(directory)/state --kata-config \(configuration)" }

    init() throws {
        directory = "/tmp/kata-vm-tests-\(UInt32.random(in: 0...UInt32.max))"
        let outcome = try Lab.shell(
            """
            set -e
            mkdir -p \(directory)/rootfs/{bin,dev,etc,proc,root,run,sys,tmp} \(directory)/bundle
            cp /bin/busybox \(directory)/rootfs/bin/busybox
            for name in $(/bin/busybox --list); do [ $name = busybox ] || ln -s busybox \(directory)/rootfs/bin/$name; done
            echo 'root:x:0:0:root:/root:/bin/sh' > \(directory)/rootfs/etc/passwd
            cd \(Lab.source!)
            scripts/write-configuration $PWD/out/guest/vmlinux $PWD/out/guest/initrd.img |
                sed 's|^default_memory = .*|default_memory = 256|' > \(directory)/configuration.toml
            """)
        guard outcome.status == 0 else { throw LabError(text: outcome.error) }
    }

    /// A process that still runs here fails the test. Prints the test's own time too: swift test's includes the wait
    /// for a thread.
    func remove(patience: Duration = .seconds(5)) {
        let deadline = ContinuousClock.now + patience
        var strays = strays()
        while !strays.isEmpty, .now < deadline {
            usleep(50_000)
            strays = self.strays()
        }
        for (process, command) in strays {
            Issue.record("still running at the end: \(command)")
            process.kill(within: .seconds(5))
        }
        _ = try? Lab.shell("rm -rf --one-file-system \(directory)")
        guard let test = Test.current else { return }
        let time = (ContinuousClock.now - start).formatted(
            .units(allowed: [.seconds], fractionalPart: .show(length: 1)))
        print("own time \(time): \(test.displayName ?? test.name)")
    }

    /// Processes that name this place, or work in it, and their command lines.
    private func strays() -> [(ProcessIdentity, String)] {
        Files.list("/proc").compactMap { name in
            guard let process = Int32(name).flatMap({ ProcessIdentity($0) }) else { return nil }
            let bytes = (try? Files.read("/proc/\(name)/cmdline")) ?? []
            let command = String(decoding: bytes.map { $0 == 0 ? UInt8(ascii: " ") : $0 }, as: UTF8.self)
            let place = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(name)/cwd")) ?? ""
            // Another lab's number may have this one's as a prefix.
            let ours = (command + place).range(of: directory + "(?![0-9])", options: .regularExpression)
            guard ours != nil else { return nil }
            return (process, "\(command)(process \(name))")
        }
    }

    /// Writes a bundle's config.json that runs a shell script in the container.
    func bundle(_ script: String, terminal: Bool = false) throws {
        let quoted = script.replacingOccurrences(of: "'", with: "'\\''")
        let outcome = try sh(
            """
            rm -f bundle/config.json && \(kata) spec -b bundle && jq --arg script '\(quoted)' '.process.terminal = \(terminal) |
                .process.args = ["/bin/sh", "-c", $script] | .root = {path: "\(rootfs)"}' bundle/config.json > c && mv c bundle/config.json
            """)
        guard outcome.status == 0 else { throw LabError(text: outcome.error) }
    }

    /// Runs a script in a container whose config.json a jq program has changed. Suites run side by side: each has its
    /// own ids.
    static func run(
        _ script: String, _ change: String, id: String = "t-spec", before: String = "true", after: String = "true"
    ) throws -> Lab.Outcome {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle(script)
        let quoted = change.replacingOccurrences(of: "'", with: "'\\''")
        let outcome = try lab.sh(
            """
            \(before) && jq '\(quoted)' bundle/config.json > c && mv c bundle/config.json
            \(lab.kata) run -b bundle \(id); status=$?
            \(after)
            exit $status
            """)
        #expect(try lab.leftovers(id) == "")
        return outcome
    }

    struct Outcome: Sendable {
        let status: Int32
        let output: String
        let error: String
    }

    /// The seconds after which a script is taken to hang: many times what the longest one needs on a busy machine.
    static let deadline = 300

    func sh(_ script: String, seconds: Int = Lab.deadline) throws -> Outcome {
        try Lab.shell("cd \(directory) && " + script, seconds: seconds)
    }

    /// Runs a script. At its deadline it is killed, with status 124 (timeout(1)).
    ///
    /// Waits for the script alone, not for processes that it leaves: Foundation's Process would wait for those too.
    static func shell(_ script: String, seconds: Int = Lab.deadline) throws -> Outcome {
        let base = "/tmp/kata-vm-shell-\(UInt32.random(in: 0...UInt32.max))"
        defer {
            unlink(base + ".out")
            unlink(base + ".err")
        }
        let output = try FileDescriptor.open(base + ".out", O_WRONLY | O_CREAT | O_TRUNC)
        let errors = try FileDescriptor.open(base + ".err", O_WRONLY | O_CREAT | O_TRUNC)
        var command = Command("/usr/bin/timeout", ["-k", "20", "\(seconds)", "/bin/bash", "-c", script])
        // Sets the limits that a user's shell would give.
        command.mayDumpCore = true
        command.descriptors = [1: output.raw, 2: errors.raw]
        let end = try ChildProcess(command).wait()
        return Outcome(
            status: end.status, output: (try? Files.readText(base + ".out")) ?? "",
            error: (try? Files.readText(base + ".err")) ?? "")
    }

    /// A jq program that gives a container of busybox rights over everything in its guest; it reads `features` into
    /// $features.
    static let privileged = """
        .process.noNewPrivileges = false | .linux.maskedPaths = [] | .linux.readonlyPaths = []
        | .process.capabilities = (["bounding", "effective", "permitted"] | map({(.): $features[0].linux.capabilities}) | add)
        | .linux.resources.devices = [{allow: true, access: "rwm"}]
        | .mounts |= map(if .type == "cgroup" or .type == "sysfs" then .options -= ["ro"] else . end)
        """

    /// A shell command that runs another one in a terminal of 20 rows and 50 columns, which becomes 33 by 77 once the
    /// program says "ready".
    static let terminal = """
        python3 -c '
        import fcntl, os, pty, select, signal, struct, sys, termios, time
        pid, master = pty.fork()
        if pid == 0: os.execvp(sys.argv[1], sys.argv[1:])
        resize = lambda rows, columns: fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        resize(20, 50)
        seen, resized, end = b"", False, time.time() + 120
        while time.time() < end:
            if not select.select([master], [], [], 0.2)[0]: continue
            try: data = os.read(master, 4096)
            except OSError: break
            if not data: break
            seen += data
            if b"ready" in seen and not resized:
                resized = True
                resize(33, 77)
                os.kill(pid, signal.SIGWINCH)
        sys.stdout.write(seen.decode().replace("\\r", ""))
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))'
        """
    /// A script for a container: prints its terminal, the size, and the next size.
    static let terminalScript =
        #"sleep 0.5; tty; stty size; trap "stty size; exit 3" WINCH; echo ready; while :; do sleep 0.1; done"#

    /// Lists the remains of containers after a failure: processes, directories, mounts.
    func leftovers(_ id: String) throws -> String {
        try sh(
            """
            for i in $(seq 400); do
                left="$(pgrep -f '[s]andbox-\(id) |[s]andboxes/\(id)/|[-]id \(id)( |$)')$(ls -d /run/vc/vm/\(id) state/\(id) \
            /run/kata-containers/shared/sandboxes/\(id) 2>/dev/null)$(grep '[s]andboxes/\(id)/' /proc/self/mountinfo)"
                [ -z "$left" ] && exit
                sleep 0.1
            done
            echo "$left"
            """
        ).output
    }
}

struct LabError: Error, CustomStringConvertible {
    let text: String
    var description: String { text }
}
