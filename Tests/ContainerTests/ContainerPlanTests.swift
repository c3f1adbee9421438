import CLinux
import Glibc
import Testing

@testable import Container
@testable import OCISpec

@Suite("A container's plan")
struct ContainerPlanTests {
    private func plan(_ change: (inout Spec) -> Void = { _ in }) throws -> ContainerPlan {
        var spec = Spec.example
        change(&spec)
        return try ContainerPlan(spec, container: "c1")
    }

    @Test("the example specification becomes numbers and paths")
    func golden() throws {
        let plan = try plan()
        #expect(plan.rootfs == "rootfs")
        #expect(plan.readOnlyRoot)
        #expect(plan.cgroup == "kata/c1")
        #expect(plan.namespaces.newCgroup && plan.namespaces.isOneClone)
        #expect(
            plan.namespaces.new
                == UInt64(clx_new_mount.rawValue | clx_new_pid.rawValue | clx_new_ipc.rawValue | clx_new_uts.rawValue))
        #expect(plan.process.capabilities?.effective == 1 << 5 | 1 << 10 | 1 << 29)
        #expect(plan.process.limits == [ProcessPlan.Limit(resource: 7, soft: 1024, hard: 1024)])
        let dev = plan.mounts[1]
        #expect(dev.type == "tmpfs" && dev.data == "mode=755,size=65536k")
        #expect(dev.flags == UInt(MS_NOSUID) | UInt(MS_STRICTATIME))
        #expect(plan.mounts[6].type == "cgroup2" && plan.mounts[6].data == "")
        #expect(plan.rootPropagation == 0)
    }

    @Test(
        "of several values of a name the last one counts, in its place; an empty HOME is left to the user's own",
        arguments: [
            (["PATH=/usr/bin", "TERM=xterm", "PATH=/xx:/bin"], ["TERM=xterm", "PATH=/xx:/bin"]),
            (["A=1", "AB=2", "A=3=4", "A=", "B=A=1"], ["AB=2", "A=", "B=A=1"]), (["HOME="], []),
            (["HOME=/a", "HOME="], []), (["HOME=", "A=b", "HOME=/a"], ["A=b", "HOME=/a"]),
            (["\u{e9}=1", "e\u{301}=2"], ["\u{e9}=1", "e\u{301}=2"]),
        ])
    func environment(given: [String], expected: [String]) throws {
        let plan = try plan { $0.process?.env = given }
        #expect(plan.process.environment.map { Array($0.utf8) } == expected.map { Array($0.utf8) })
        var process = Process(args: ["a"])
        process.env = given
        #expect(try ProcessPlan(process).environment == plan.process.environment)
    }

    @Test("a bind mount keeps its flags, its propagation and its recursive attributes apart")
    func bind() throws {
        let plan = try plan {
            $0.mounts = [
                Mount(
                    destination: "/d", type: "bind", source: "/s",
                    options: ["rbind", "ro", "nosuid", "rslave", "rnoexec"])
            ]
        }
        let mount = plan.mounts[0]
        #expect(mount.isBind && mount.type == "")
        #expect(mount.flags == UInt(MS_BIND) | UInt(MS_REC) | UInt(MS_RDONLY) | UInt(MS_NOSUID))
        #expect(mount.propagation == [UInt(MS_SLAVE) | UInt(MS_REC)])
        #expect(mount.recursiveAttributes == 8)
    }

    @Test("resources become files of cgroup v2")
    func limits() throws {
        var resources = OCISpec.Linux.Resources()
        resources.memory = .init()
        resources.memory?.limit = 64 << 20
        resources.memory?.swap = 96 << 20
        resources.cpu = .init()
        resources.cpu?.shares = 1024
        resources.cpu?.quota = 50_000
        resources.pids = .init()
        resources.pids?.limit = -1
        resources.hugepageLimits = [.init(pageSize: "2MB", limit: 0), .init(pageSize: "1GB", limit: 1 << 30)]
        resources.rdma = ["mlx5_1": .init(hcaHandles: 3, hcaObjects: nil)]
        resources.blockIO = .init()
        resources.blockIO?.weight = 500
        resources.blockIO?.throttleReadBpsDevice = [.init(major: 254, minor: 0, rate: 1000)]
        resources.unified = ["memory.high": "1000", "cpu.idle": "1"]
        let settings = try CgroupLimits.settings(resources)
        #expect(
            settings == [
                .init("memory.max", "67108864"), .init("memory.swap.max", "33554432"), .init("cpu.weight", "39"),
                .init("cpu.max", "50000"), .init("pids.max", "max"), .init("io.weight", "default 4950"),
                .init("io.max", "254:0 rbps=1000"), .init("hugetlb.2MB.max", "0", optional: true),
                .init("hugetlb.1GB.max", "1073741824"), .init("rdma.max", "mlx5_1 hca_handle=3"),
                .init("cpu.idle", "1"), .init("memory.high", "1000"),
            ])
        var unlimited = OCISpec.Linux.Resources()
        unlimited.memory = .init()
        unlimited.memory?.limit = -1
        unlimited.cpu = .init()
        unlimited.cpu?.quota = -1
        unlimited.cpu?.period = 200_000
        #expect(
            try CgroupLimits.settings(unlimited) == [
                .init("memory.max", "max"), .init("memory.swap.max", "max", optional: true),
                .init("cpu.max", "max 200000"),
            ])
    }

    @Test(
        "a cgroup's path stays below the guest's own root",
        arguments: [
            (nil, "kata/c1"), ("/default/c1", "default/c1"), ("system.slice:kata:c1", "system.slice/kata-c1.scope"),
            ("/../../x", "x"),
            ("/..", "kata/c1"),
        ])
    func cgroupPath(given: String?, expected: String) { #expect(CgroupLimits.path(given, container: "c1") == expected) }

    @Test("what can't be done is refused with its field")
    func refusals() {
        func field(_ change: (inout Spec) -> Void) -> String? {
            do {
                _ = try plan(change)
                return nil
            } catch { return (error as? PlanError)?.field }
        }
        #expect(
            field { $0.process?.rlimits = [.init(type: "RLIMIT_LUCK", hard: 1, soft: 1)] } == "process.rlimits[0].type")
        #expect(field { $0.linux?.namespaces = [.init(type: "mount", path: "/x")] } == "linux.namespaces[0].path")
        #expect(
            field { $0.mounts = [Mount(destination: "/x", type: "bind", options: ["idmap"])] } == "mounts[0].options")
        #expect(
            field { $0.mounts = [Mount(destination: "/x", type: "bind", options: ["tmpcopyup"])] }
                == "mounts[0].options")
        var small = OCISpec.Linux.Resources()
        small.memory = .init()
        small.memory?.limit = 9
        small.memory?.swap = 5
        #expect(field { $0.linux?.resources = small } == "linux.resources.memory.swap")
        #expect(field { $0.linux?.rootfsPropagation = "x" } == "linux.rootfsPropagation")
    }

    @Test("namespaces that one clone can't make are joined and made step by step, users first")
    func namespaces() throws {
        let plan = try plan {
            $0.linux?.namespaces = [
                .init(type: "ipc", path: "/proc/9/ns/ipc"), .init(type: "user"), .init(type: "time"),
                .init(type: "uts"),
                .init(type: "cgroup"),
            ]
            $0.linux?.uidMappings = [
                IDMapping(containerID: 0, hostID: 100_000, size: 1000),
                IDMapping(containerID: 1000, hostID: 5, size: 1),
            ]
            $0.linux?.gidMappings = [IDMapping(containerID: 0, hostID: 7, size: 1)]
            $0.linux?.timeOffsets = [
                "boottime": .init(secs: 3, nanosecs: nil), "monotonic": .init(secs: -1, nanosecs: 5),
            ]
        }.namespaces
        #expect(!plan.isOneClone && plan.newCgroup)
        #expect(plan.joined == [.init(path: "/proc/9/ns/ipc", flag: UInt64(clx_new_ipc.rawValue))])
        let made = clx_new_mount.rawValue | clx_new_pid.rawValue | clx_new_user.rawValue | clx_new_time.rawValue
        #expect(plan.new == UInt64(made | clx_new_uts.rawValue))
        #expect(plan.userMap == "0 100000 1000\n1000 5 1\n" && plan.groupMap == "0 7 1\n")
        #expect(plan.timeOffsets == "boottime 3 0\nmonotonic -1 5\n")
    }

    @Test("a user namespace gets the guest's mounts of what it shares, and mounts anew what is its own")
    func guestsMounts() throws {
        func mounts(_ namespaces: [OCISpec.Linux.Namespace]) throws -> [NamespacePlan.GuestsMount?] {
            let plan = try plan {
                $0.hostname = nil
                $0.linux?.namespaces = namespaces
                $0.linux?.uidMappings = [IDMapping(containerID: 0, hostID: 7, size: 1)]
                $0.linux?.gidMappings = [IDMapping(containerID: 0, hostID: 7, size: 1)]
            }.namespaces
            return ["sysfs", "mqueue", "tmpfs"].map(plan.guestsMount)
        }
        let files = NamespacePlan.GuestsMount(path: "/sys", isReadOnly: true)
        let queues = NamespacePlan.GuestsMount(path: "/dev/mqueue", isReadOnly: false)
        let ipc = OCISpec.Linux.Namespace(type: "ipc")
        #expect(try mounts([.init(type: "user")]) == [files, queues, nil])
        #expect(try mounts([.init(type: "user", path: "/proc/9/ns/user")]) == [files, queues, nil])
        #expect(try mounts([.init(type: "user"), ipc]) == [files, nil, nil])
        #expect(try mounts([ipc]) == [nil, nil, nil])
    }

    @Test("scheduling becomes the kernel's numbers")
    func scheduling() throws {
        let plan = try plan {
            $0.process?.scheduler = .init(policy: "SCHED_RR", priority: 7, flags: ["SCHED_FLAG_RESET_ON_FORK"])
            $0.process?.ioPriority = .init(class: "IOPRIO_CLASS_IDLE", priority: 3)
            $0.process?.execCPUAffinity = .init(initial: "0-1", final: "1")
            $0.linux?.personality = .init(domain: "LINUX32")
        }
        #expect(plan.process.scheduler?.policy == 2 && plan.process.scheduler?.priority == 7)
        #expect(plan.process.scheduler?.flags == 1)
        #expect(plan.process.ioPriority == .init(class: 3, level: 3))
        // Processors are for programs that join.
        #expect(plan.process.initialProcessors == [] && plan.process.finalProcessors == [])
        var process = Process(args: ["a"])
        process.execCPUAffinity = .init(initial: "0-1", final: "1")
        let joining = try ProcessPlan(process)
        #expect(joining.initialProcessors == [0, 1] && joining.finalProcessors == [1])
        #expect(plan.personality == 8)
    }

    @Test("a process's plan has its security profile")
    func profile() throws {
        let plan = try plan { $0.process?.apparmorProfile = "kata-default" }
        #expect(plan.process.securityProfile == .appArmor("kata-default"))
        #expect(try self.plan { $0.process?.apparmorProfile = "unconfined" }.process.securityProfile == nil)
    }

    @Test("a listed device replaces a default one; what it is, is its mode")
    func devices() throws {
        let plan = try plan {
            $0.linux?.devices = [
                .init(type: "c", path: "/dev/null", major: 1, minor: 3, fileMode: 0o600, uid: 5, gid: 6),
                .init(type: "p", path: "/dev/pipe"), .init(type: "c", path: "/dev/fuse", major: 10, minor: 229),
            ]
        }
        #expect(plan.devices.count == 8 && plan.devices.filter(\.isDefault).count == 5)
        let null = try #require(plan.devices.first { $0.path == "/dev/null" })
        #expect(null.mode == UInt32(S_IFCHR) | 0o600 && null.user == 5 && null.group == 6)
        #expect(plan.devices.first { $0.path == "/dev/pipe" }?.mode == UInt32(S_IFIFO) | 0o666)
    }
}

@Suite("Which devices a container may use")
struct DeviceFilterTests {
    private typealias Rule = OCISpec.Linux.Resources.DeviceRule
    private static let managers: [Rule] = [
        Rule(allow: false, access: "rwm"), Rule(allow: true, type: "c", major: 10, minor: 229, access: "rw"),
        Rule(allow: true, type: "c", major: 10, minor: 200, access: "r"),
        Rule(allow: true, type: "c", major: 10, minor: 200, access: "w"),
        Rule(allow: true, type: "b", major: 7, access: "rwm"), Rule(allow: false, type: "b", major: 7, access: "w"),
    ]

    @Test("rules are resolved in their order, and the defaults are always there")
    func decisions() {
        let filter = DeviceFilter(Self.managers)
        #expect(filter.allows(.character, 1, 3, .all))
        #expect(filter.allows(.character, 136, 5, [.read, .write]))
        #expect(filter.allows(.character, 99, 1, .make) && !filter.allows(.character, 99, 1, .read))
        #expect(filter.allows(.character, 10, 229, [.read, .write]))
        #expect(filter.allows(.character, 10, 200, [.read, .write]), "two rules for one device add up")
        #expect(filter.allows(.block, 7, 3, .read) && !filter.allows(.block, 7, 3, [.read, .write]))
        #expect(!filter.allows(.block, 8, 0, .read))
    }

    @Test("a privileged container may use every device, except those that its rules deny")
    func privileged() {
        #expect(DeviceFilter([Rule(allow: true, access: "rwm")]).isOpen)
        let filter = DeviceFilter([Rule(allow: true, access: "rwm"), Rule(allow: false, type: "c", major: 1, minor: 1)])
        #expect(!filter.isOpen && !filter.allows(.character, 1, 1, .read) && filter.allows(.block, 8, 0, .all))
    }

    @Test("the program decides as the rules do, for every device and access", arguments: [0, 1, 2])
    func program(number: Int) {
        let rules: [[Rule]] = [
            Self.managers, [Rule(allow: true, access: "rwm"), Rule(allow: false, type: "c", major: 1, access: "rm")],
            [],
        ]
        let filter = DeviceFilter(rules[number])
        for kind in [DeviceFilter.Kind.block, .character] {
            for (major, minor) in [(1, 3), (1, 1), (10, 229), (10, 200), (10, 1), (7, 0), (8, 0), (136, 9)]
                as [(UInt32, UInt32)]
            {
                for access in UInt32(1)...7 {
                    let wanted = DeviceFilter.Access(rawValue: access)
                    let answer = run(filter.program, [access << 16 | kind.rawValue, major, minor])
                    #expect(
                        (answer == 1) == filter.allows(kind, major, minor, wanted),
                        "\(kind) \(major):\(minor) \(access)")
                }
            }
        }
    }

    /// The few instructions that the filter uses, as the kernel's own machine runs them
    /// (Documentation/bpf/standardization).
    private func run(_ program: [UInt64], _ context: [UInt32]) -> UInt64 {
        var registers = [UInt64](repeating: 0, count: 11)
        var position = 0
        while true {
            let word = program[position]
            let (to, from) = (Int(word >> 8 & 15), Int(word >> 12 & 15))
            let jump = Int(Int16(truncatingIfNeeded: word >> 16))
            let value = UInt64(word >> 32)
            position += 1
            switch word & 0xff {
            case 0x61: registers[to] = UInt64(context[jump / 4])
            case 0x54: registers[to] = registers[to] & value & 0xffff_ffff
            case 0x74: registers[to] = (registers[to] & 0xffff_ffff) >> value
            case 0xbc: registers[to] = registers[from] & 0xffff_ffff
            case 0xb7: registers[to] = value
            case 0x55: if registers[to] != value { position += jump }
            case 0x15: if registers[to] == value { position += jump }
            case 0x5d: if registers[to] != registers[from] { position += jump }
            case 0x95: return registers[0]
            default:
                Issue.record("instruction \(String(word, radix: 16)) is not known")
                return 2
            }
        }
    }
}
