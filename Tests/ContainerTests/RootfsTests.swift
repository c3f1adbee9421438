import CLinux
import Glibc
import LinuxKernel
import OCISpec
import TestSupport
import Testing

@testable import Container

/// A container's root that is hostile, built and entered by a thread of the test's own.
@Suite("A container's files", .disabled(if: geteuid() != 0, "they are mounted: needs root"))
struct RootfsTests {
    private let scratch = Scratch()
    private var root: String { scratch.path + "/rootfs" }

    init() throws {
        for name in ["proc", "sys", "dev", "tmp", "vol"] { try Files.makeDirectory(root + "/" + name, mode: 0o755) }
    }

    private static let proc = Mount(destination: "/proc", type: "proc", source: "proc")

    private func plan(_ mounts: [Mount], _ change: (inout ContainerPlan) -> Void = { _ in }) throws -> ContainerPlan {
        var plan = ContainerPlan()
        plan.rootfs = root
        plan.rootPropagation = UInt(MS_PRIVATE) | UInt(MS_REC)
        plan.mounts = try mounts.map { try MountPlan($0, field: "mounts") }
        plan.devices = DevicePlan.all([])
        plan.process.directory = "/"
        change(&plan)
        return plan
    }

    /// Builds and enters the root, and answers what `look` finds there.
    private func enter<Answer: Sendable>(
        _ plan: ContainerPlan, between: @escaping @Sendable () -> Void = {},
        look: @escaping @Sendable () throws -> Answer
    ) throws -> Answer {
        try inOwnMounts {
            var rootfs = try Rootfs(plan)
            try rootfs.build()
            between()
            try rootfs.restrict()
            try rootfs.enter()
            return try look()
        }
    }

    private func refusal(_ mounts: [Mount]) throws -> String {
        let plan = try plan(mounts)
        do {
            try enter(plan) {}
            return "none"
        } catch { return "\(error)" }
    }

    private static func isNull(_ path: String) -> Bool {
        Files.kind(of: path) == .characterDevice(major: 1, minor: 3) && !Files.isLink(path)
    }

    @Test("a directory over a file, or a file over a directory, gives the error of mount(2)")
    func kinds() throws {
        try Files.write(root + "/file", [])
        let directory = Mount(destination: "/file", type: "bind", source: "/usr", options: ["bind"])
        #expect(try refusal([directory]) == "mount /usr on /file: not a directory")
        let file = Mount(destination: "/vol", type: "bind", source: root + "/file", options: ["bind"])
        #expect(try refusal([file]) == "mount \(root)/file on /vol: not a directory")
    }

    @Test("a bind has the propagation that its options name, unless rootfsPropagation sets another for the whole root")
    func propagation() throws {
        func tags(_ rootPropagation: UInt) throws -> [String] {
            let mounts = ["shared", "private"].map { kind in
                Mount(destination: "/vol", type: "bind", source: "/usr", options: ["bind", kind])
            }
            return try mounts.map { mount in
                let plan = try plan([Self.proc, mount]) { $0.rootPropagation = rootPropagation }
                return try enter(plan) {
                    let lines = try Files.readText("/proc/thread-self/mountinfo").split(separator: "\n")
                    let line = lines.first { $0.split(separator: " ")[4] == "/vol" } ?? ""
                    return line.contains(" shared:") ? "shared" : "private"
                }
            }
        }
        #expect(try tags(0) == ["shared", "private"])
        #expect(try tags(UInt(MS_PRIVATE) | UInt(MS_REC)) == ["private", "private"])
    }

    @Test("among the kernel's files or not: each file system is asked once, however many mounts there are")
    func questions() throws {
        var questions = 0
        let files = KernelFiles {
            questions += 1
            return clx_is_kernel_file($0) == 1
        }
        let paths = (1...300).map { root + "/vol/\($0)" } + ["/proc/version", "/proc/self/status"]
        for path in paths.dropLast(2) { try Files.write(path, []) }
        let answers = try paths.map { files.contains(try FileDescriptor.open($0, Int32(clx_open_path))) }
        #expect(answers.filter { $0 }.count == 2 && answers.suffix(2) == [true, true])
        #expect(questions == 2)
    }

    // MARK: Links in the image

    @Test("the kernel's files are mounted on an ordinary directory alone, whatever the image has in its place")
    func ordinaryDirectories() throws {
        let rule = "an ordinary directory is needed, reached without links"
        rmdir(root + "/proc")
        symlink("/vol", root + "/proc")
        #expect(
            try refusal([Self.proc]) == "mount proc on /proc: /proc is a symbolic link to /vol: \(rule)")
        unlink(root + "/proc")
        try Files.write(root + "/proc", "")
        #expect(try refusal([Self.proc]) == "mount proc on /proc: /proc is a file: \(rule)")
        symlink("vol", root + "/way")
        #expect(
            try refusal([Mount(destination: "/way/sys", type: "sysfs", source: "sysfs")])
                == "mount sysfs on /way/sys: /way is a symbolic link to vol: \(rule)")
        #expect(!Files.exists(root + "/vol/sys"))
    }

    @Test("a link of the image does not lead a volume among the kernel's files, and does lead it elsewhere in the root")
    func volumes() throws {
        let source = scratch.path + "/source"
        try Files.makeDirectory(source)
        try Files.write(source + "/mine", "x")
        let volume = Mount(destination: "/data", type: "bind", source: source, options: ["bind", "ro"])
        symlink("/proc/sys", root + "/data")
        #expect(
            try refusal([Self.proc, volume])
                == "mount \(source) on /data: /data is a symbolic link to /proc/sys: a link must not lead among the files of /proc or /sys"
        )
        unlink(root + "/data")
        symlink("../../../vol", root + "/data")
        let found = try enter(plan([Self.proc, volume])) {
            let isWritable = open("/vol/new", O_WRONLY | O_CREAT, 0o600) >= 0
            return (try Files.readText("/vol/mine"), isWritable)
        }
        #expect(found == ("x", false))
    }

    @Test(
        "files are masked by the guest's own null device, and devices are what their names say, whatever the image has in /dev"
    )
    func devices() throws {
        symlink("/proc/version", root + "/dev/null")
        try Files.write(root + "/dev/zero", "")
        symlink("/etc/secret", root + "/dev/console")
        let plan = try plan([Self.proc]) {
            $0.masked = ["/proc/version", "/proc/bus", "/proc/none/there"]
            $0.readOnly = ["/proc/sys", "/proc/none"]
        }
        let found = try enter(plan) {
            [
                Self.isNull("/dev/null"), Self.isNull("/proc/version"), Files.list("/proc/bus").isEmpty,
                Files.kind(of: "/dev/zero") == .characterDevice(major: 1, minor: 5),
                open("/proc/sys/kernel/hostname", O_WRONLY) < 0 && errno == EROFS,
            ]
        }
        #expect(found == [true, true, true, true, true])
    }

    @Test("a directory in a default device's place, and a file in a listed one's, are refused")
    func devicesRefused() throws {
        try Files.makeDirectory(root + "/dev/full")
        #expect(try refusal([]).hasPrefix("replace what is no device 1:7: /dev/full: "))
        rmdir(root + "/dev/full")
        try Files.write(root + "/dev/own", "")
        let plan = try plan([]) {
            $0.devices += DevicePlan.all([.init(type: "c", path: "/dev/own", major: 1, minor: 3)])
        }
        #expect(throws: SystemError("make device", "/dev/own", errno: EEXIST)) { try enter(plan) {} }
    }

    @Test("a device that config.json binds in a default one's place stays")
    func boundDevice() throws {
        let mounts = [Mount(destination: "/dev/random", type: "bind", source: "/dev/zero", options: ["bind"])]
        let found = try enter(plan(mounts)) { Files.kind(of: "/dev/random") }
        #expect(found == .characterDevice(major: 1, minor: 5))
    }

    @Test("the kernel's files are masked wherever their directory is moved before that")
    func movedProc() throws {
        let root = root
        let plan = try plan([Self.proc]) { $0.masked = ["/proc/version"] }
        let there = try Pipe()
        let back = try Pipe()
        let (ready, done) = (there.writeEnd.raw, back.readEnd.raw)
        // The thread that moves it has another mount namespace, where nothing is mounted there.
        let (heard, answer) = (there.readEnd.raw, back.writeEnd.raw)
        try startThread("mover") {
            var byte: UInt8 = 0
            _ = read(heard, &byte, 1)
            rename(root + "/proc", root + "/moved")
            mkdir(root + "/proc", 0o755)
            _ = write(answer, &byte, 1)
        }
        let found = try enter(plan) {
            var byte: UInt8 = 0
            _ = write(ready, &byte, 1)
            _ = read(done, &byte, 1)
        } look: {
            [Files.isDirectory("/moved/self"), Self.isNull("/moved/version"), Files.list("/proc").isEmpty]
        }
        #expect(found == [true, true, true])
    }

    // MARK: Memory

    @Test(
        "a read-only tmpfs, as /dev may be, has its nodes, links and mount points all the same",
        arguments: ["ro", "rro"])
    func readOnlyDev(option: String) throws {
        func memory(_ path: String, _ options: [String]) -> Mount {
            Mount(destination: path, type: "tmpfs", source: "tmpfs", options: options)
        }
        let mounts = [
            Self.proc, memory("/dev", ["nosuid", "mode=755", option]),
            Mount(
                destination: "/dev/pts", type: "devpts", source: "devpts", options: ["newinstance", "ptmxmode=0666"]),
            memory("/dev/shm", ["mode=1777"]),
            Mount(destination: "/dev/mqueue", type: "mqueue", source: "mqueue"), memory("/vol", [option]),
            Mount(destination: "/vol/data", type: "bind", source: "/usr", options: ["bind", "ro"]),
        ]
        let plan = try plan(mounts) {
            $0.devices += DevicePlan.all([.init(type: "c", path: "/dev/own", major: 1, minor: 3)])
        }
        let found = try enter(plan) {
            let names = try Set(Files.names(in: "/dev"))
            let isFilled = names.isSuperset(of: ["fd", "mqueue", "null", "own", "ptmx", "pts", "shm", "stdin", "tty"])
            let refused = ["/dev/new", "/vol/new"].map { (path: String) in
                open(path, O_WRONLY | O_CREAT, 0o600) < 0 && errno == EROFS
            }
            let isMemoryOpen = open("/dev/shm/new", O_WRONLY | O_CREAT, 0o600) >= 0
            return [isFilled, Self.isNull("/dev/own"), Files.isDirectory("/vol/data/bin"), isMemoryOpen] + refused
        }
        #expect(found == [true, true, true, true, true, true])
    }

    @Test("a tmpfs has the mode of the directory that it covers, unless one is stated or there was none")
    func modes() throws {
        for name in ["own", "stated", "copied"] {
            mkdir(root + "/" + name, 0o710)
            chown(root + "/" + name, 1000, 2000)
        }
        try Files.write(root + "/copied/file", "x")
        func memory(_ name: String, _ options: [String] = []) -> Mount {
            Mount(destination: name, type: "tmpfs", source: "tmpfs", options: options)
        }
        let mounts = [
            memory("/own", ["size=1m"]), memory("/stated", ["mode=1750"]), memory("/none"),
            memory("/copied", ["tmpcopyup", "ro"]),
        ]
        let found = try enter(plan(mounts)) {
            try ["/own", "/stated", "/none", "/copied"].map { path in
                var facts = stat()
                try check("look at", path) { stat(path, &facts) }
                return String(facts.st_mode & 0o7777, radix: 8) + " \(facts.st_uid)"
            } + [Files.readText("/copied/file"), "\(open("/copied/new", O_WRONLY | O_CREAT, 0o600))"]
        }
        #expect(found == ["710 0", "1750 0", "1777 0", "710 0", "x", "-1"])
    }

    @Test("mount points are made in a directory that not even its owner may write to, which keeps its mode")
    func readOnlyDirectory() throws {
        mkdir(root + "/closed", 0o555)
        let lookup = root
        let (made, modes) = try inOwnMounts {
            // The root user of a user namespace has no rights over closed files of the host.
            let status = try Files.readText("/proc/thread-self/status")
            let ordinary =
                try #require(CapabilitySet("CapPrm:", in: status)).bits
                & ~CapabilitySet([.dacOverride, .dacReadSearch]).bits
            try checkNegativeErrno("set", "capabilities", clx_set_capabilities(ordinary, ordinary, 0))
            let directory = try FileDescriptor.open(lookup, Int32(clx_open_path) | O_DIRECTORY)
            let walk = RootLookup(root: directory.raw)
            let folder = try walk.open("/closed/a/b", missing: .directory)
            let file = try walk.open("/closed/file", missing: .file)
            let made = [FileFacts(folder.raw)?.type, FileFacts(file.raw)?.type]
            return (made, try [walk.permissions(of: "/closed"), walk.permissions(of: "/closed/a")])
        }
        #expect(made == [S_IFDIR, S_IFREG])
        #expect(modes == [0o555, 0o755])
    }
}
