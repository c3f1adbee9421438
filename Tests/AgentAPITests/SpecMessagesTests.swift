import Testing

@testable import AgentAPI
@testable import OCISpec

@Suite("A specification as messages of other agents")
struct SpecMessagesTests {
    private func decode(_ text: String) throws -> Spec {
        try Spec.decode(json: Array(text.utf8), source: "config.json")
    }

    /// Every field that the messages have a place for.
    private static let whole = #"""
        {"ociVersion":"1.1.0","hostname":"h","annotations":{"a":"b"},"root":{"path":"/r","readonly":true},
        "process":{"terminal":true,"consoleSize":{"height":20,"width":50},"user":{"uid":5,"gid":6,"additionalGids":[7,8]},
        "args":["a","b"],"env":["A=b"],"cwd":"/w","noNewPrivileges":true,"apparmorProfile":"p","selinuxLabel":"u:r:t:s0",
        "oomScoreAdj":-5,"capabilities":{"bounding":["CAP_KILL"],"effective":["CAP_CHOWN"],"inheritable":["CAP_FOWNER"],
        "permitted":["CAP_MKNOD"],"ambient":["CAP_LEASE"]},"rlimits":[{"type":"RLIMIT_NOFILE","hard":9,"soft":8}]},
        "mounts":[{"destination":"/d","type":"bind","source":"/s","options":["rbind","ro"]},{"destination":"/x"}],
        "hooks":{"prestart":[{"path":"/1"}],"createRuntime":[{"path":"/2"}],"createContainer":[{"path":"/3"}],
        "startContainer":[{"path":"/4","args":["x"],"env":["Y=z"],"timeout":3}],"poststart":[{"path":"/5"}],
        "poststop":[{"path":"/6"}]},
        "linux":{"uidMappings":[{"containerID":1,"hostID":2,"size":3}],"gidMappings":[{"containerID":4,"hostID":5,"size":6}],
        "sysctl":{"net.ipv4.ip_forward":"1"},"cgroupsPath":"/c","rootfsPropagation":"rslave","maskedPaths":["/m"],
        "readonlyPaths":["/o"],"mountLabel":"l","namespaces":[{"type":"pid"},{"type":"ipc","path":"/proc/1/ns/ipc"}],
        "devices":[{"path":"/dev/fuse","type":"c","major":10,"minor":229,"fileMode":384,"uid":1,"gid":2},
        {"path":"/dev/zero-minor","type":"c","major":7,"minor":0},{"path":"/dev/pipe","type":"p"}],
        "seccomp":{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86"],"flags":["SECCOMP_FILTER_FLAG_LOG"],
        "syscalls":[{"names":["read"],"action":"SCMP_ACT_ERRNO","errnoRet":0,
        "args":[{"index":1,"value":2,"valueTwo":3,"op":"SCMP_CMP_MASKED_EQ"}]},{"names":["write"],"action":"SCMP_ACT_ALLOW"}]},
        "resources":{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":10,"minor":0,"access":"r"}],
        "memory":{"limit":1,"reservation":2,"swap":3,"kernel":4,"kernelTCP":5,"swappiness":6,"disableOOMKiller":true},
        "cpu":{"shares":1,"quota":-1,"period":3,"realtimeRuntime":4,"realtimePeriod":5,"cpus":"0-1","mems":"0"},
        "pids":{"limit":-1},"hugepageLimits":[{"pageSize":"2MB","limit":0},{"pageSize":"1GB","limit":7}],
        "blockIO":{"weight":10,"leafWeight":11,"weightDevice":[{"major":8,"minor":0,"weight":12,"leafWeight":13}],
        "throttleReadBpsDevice":[{"major":8,"minor":1,"rate":1}],"throttleWriteBpsDevice":[{"major":8,"minor":2,"rate":2}],
        "throttleReadIOPSDevice":[{"major":8,"minor":3,"rate":3}],"throttleWriteIOPSDevice":[{"major":8,"minor":4,"rate":4}]},
        "network":{"classID":1,"priorities":[{"name":"eth0","priority":2}]}}}}
        """#

    @Test("every field that they have a place for gets there")
    func roundTrip() throws {
        let spec = try decode(Self.whole)
        let message = try Grpc_Spec(checking: spec, source: "config.json")
        let again = Spec(try Grpc_Spec(serializedBytes: try message.serializedBytes() as [UInt8]))
        #expect(again.field(missingIn: spec) == nil && spec.field(missingIn: again) == nil)
        // Must be equal, not only equivalent.
        var expected = spec
        // Fields that the messages can't tell from absent ones, which mean the same.
        expected.mounts?[1].options = nil
        expected.linux?.resources?.hugepageLimits = again.linux?.resources?.hugepageLimits
        expected.process?.terminal = true
        #expect(again == expected)
        #expect(again.linux?.resources?.hugepageLimits?.map(\.limit) == [0, 7])
        #expect(again.linux?.resources?.devices?.map(\.major) == [nil, 10])
        #expect(again.linux?.seccomp?.syscalls?.map(\.errnoRet) == [0, nil])
    }

    @Test("the example gets there as it is")
    func example() throws {
        let again = Spec(try Grpc_Spec(checking: .example, source: "config.json"))
        #expect(Spec.example.field(missingIn: again) == nil)
    }

    @Test(
        "what they have no place for is refused by its name",
        arguments: [
            (#""domainname":"d""#, "domainname"),
            (#""process":{"user":{"uid":0,"gid":0,"umask":18},"cwd":"/"}"#, "process.user.umask"),
            (
                #""process":{"user":{"uid":0,"gid":0},"cwd":"/","scheduler":{"policy":"SCHED_RR","priority":1}}"#,
                "process.scheduler"
            ),
            (
                #""process":{"user":{"uid":0,"gid":0},"cwd":"/","ioPriority":{"class":"IOPRIO_CLASS_RT"}}"#,
                "process.ioPriority"
            ),
            (
                #""process":{"user":{"uid":0,"gid":0},"cwd":"/","execCPUAffinity":{"final":"1"}}"#,
                "process.execCPUAffinity"
            ),
            (
                #""mounts":[{"destination":"/x","uidMappings":[{"containerID":0,"hostID":1,"size":1}]}]"#,
                "mounts[0].uidMappings"
            ),
            (#""linux":{"timeOffsets":{"boottime":{"secs":1}}}"#, "linux.timeOffsets"),
            (#""linux":{"personality":{"domain":"LINUX32"}}"#, "linux.personality"),
            (
                #""linux":{"seccomp":{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38}}"#,
                "linux.seccomp.defaultErrnoRet"
            ),
            (
                #""linux":{"seccomp":{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/l"}}"#,
                "linux.seccomp.listenerPath"
            ),
            (#""linux":{"resources":{"unified":{"memory.high":"1"}}}"#, "linux.resources.unified"),
            (#""linux":{"resources":{"rdma":{"mlx5_1":{"hcaHandles":3}}}}"#, "linux.resources.rdma"),
            (#""linux":{"resources":{"cpu":{"burst":5}}}"#, "linux.resources.cpu.burst"),
            (#""linux":{"resources":{"cpu":{"idle":1}}}"#, "linux.resources.cpu.idle"),
        ])
    func refusals(text: String, field: String) throws {
        let spec = try decode(#"{"ociVersion":"1.2.0","# + text + "}")
        let error = #expect(throws: SpecError.self) { try Grpc_Spec(checking: spec, source: "config.json") }
        #expect(error?.path == field)
    }

    @Test("a process that joins, and new limits, are checked alike")
    func parts() throws {
        var process = Process(args: ["a"])
        _ = try Grpc_Process(checking: process, source: "process.json")
        process.user.umask = 0o22
        #expect(throws: SpecError.self) { try Grpc_Process(checking: process, source: "process.json") }
        var limits = Linux.Resources()
        limits.pids = .init()
        limits.pids?.limit = 5
        #expect(Linux.Resources(try Grpc_LinuxResources(checking: limits, source: "resources")) == limits)
        limits.unified = ["pids.max": "3"]
        #expect(throws: SpecError.self) { try Grpc_LinuxResources(checking: limits, source: "resources") }
    }
}
