import AgentAPI
import Cleanup
import Configuration
import Foundation
import Logging
import NIOPosix
import Network
import OCISpec
import Sandbox
import Shim
import SwiftProtobuf
import Testing

/// Calls of another host to the agent: Kata's own messages, without our extensions.
@Suite(
    "the agent's API with a real guest", .serialized, .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"),
    .timeLimit(.minutes(30)))
struct AgentContractTests {
    private func withGuest(_ body: @Sendable (Sandbox) async throws -> Void) async throws {
        try await Lab.apart { try await guest(body) }
    }

    private func guest(_ body: (Sandbox) async throws -> Void) async throws {
        let lab = try Lab()
        defer { lab.remove() }
        let configuration = try Configuration.load(lab.configuration, keys: .all)
        let network = try NetworkSettings(
            Spec.example, process: nil, configuration: configuration, host: .current, source: "config.json")
        let plan = SandboxPlan(
            sandbox: "t-contract", hostname: "", network: network,
            basis: try SandboxPlan.Basis(configuration, files: configuration.openFiles()),
            cgroups: SandboxPlan.Cgroups(nil, sandbox: "t-contract", configuration: configuration))
        let ledger = try Ledger.begin(in: plan.paths.machine)
        defer { ledger.end() }
        let sandbox = Sandbox(
            plan: plan, ledger: ledger, loop: MultiThreadedEventLoopGroup(numberOfThreads: 1).next(),
            log: Logger(label: "test"))
        try await sandbox.boot()
        do { try await body(sandbox) } catch {
            await sandbox.stop()
            throw error
        }
        await sandbox.stop()
        ledger.end()
        #expect(try lab.leftovers("t-contract") == "")
    }

    private func call<Reply: Message>(_ sandbox: Sandbox, _ method: String, _ request: some Message) async throws
        -> Reply
    {
        try Reply(serializedBytes: try await sandbox.ask(agent: method, try request.serializedBytes()))
    }

    private func perform(_ sandbox: Sandbox, _ method: String, _ request: some Message) async throws {
        let _: Google_Protobuf_Empty = try await call(sandbox, method, request)
    }

    /// Output of a container with these messages, and its exit status.
    private func run(_ id: String, _ script: String, in sandbox: Sandbox, _ change: (inout Spec) -> Void) async throws
        -> (output: String, status: Int32)
    {
        try Lab.shell(
            "set -e; cd \(sandbox.paths.mounts); mkdir -p root/{bin,copied,dev,proc,sys,tmp}; cp /bin/busybox root/bin"
        )
        .check()
        var spec = Spec.example
        spec.process?.terminal = false
        spec.process?.args = ["/bin/busybox", "sh", "-c", script]
        spec.root = Root(path: GuestPaths.share + "/root")
        change(&spec)
        var create = Grpc_CreateContainerRequest()
        (create.containerID, create.execID) = (id, id)
        create.oci = try Grpc_Spec(checking: spec, source: "config.json")
        try await perform(sandbox, "CreateContainer", create)
        var start = Grpc_StartContainerRequest()
        start.containerID = id
        try await perform(sandbox, "StartContainer", start)
        var read = Grpc_ReadStreamRequest()
        (read.containerID, read.execID, read.len) = (id, id, 4096)
        var output = ""
        while true {
            let answer: Grpc_ReadStreamResponse = try await call(sandbox, "ReadStdout", read)
            if answer.data.isEmpty { break }
            output += String(decoding: answer.data, as: UTF8.self)
        }
        var wait = Grpc_WaitProcessRequest()
        (wait.containerID, wait.execID) = (id, id)
        let end: Grpc_WaitProcessResponse = try await call(sandbox, "WaitProcess", wait)
        var remove = Grpc_RemoveContainerRequest()
        remove.containerID = id
        try await perform(sandbox, "RemoveContainer", remove)
        return (output, end.status)
    }

    @Test("files are copied into the guest in pieces, and a container of Kata's messages sees them")
    func copiedFiles() async throws {
        try await withGuest { sandbox in
            func copy(_ path: String, _ mode: UInt32, _ text: String = "", of size: Int = 0, at offset: Int64 = 0)
                async throws
            {
                var request = Grpc_CopyFileRequest()
                (request.path, request.fileMode, request.dirMode) = (path, mode, 0o750)
                (request.data, request.offset, request.fileSize) = (Data(text.utf8), offset, Int64(size))
                (request.uid, request.gid) = (3, 4)
                try await perform(sandbox, "CopyFile", request)
            }
            let base = "/run/kata-containers/copied"
            try await copy(base + "/deep/file", 0o100640, "first ", of: 12)
            try await copy(base + "/deep/file", 0o100640, "second", of: 12, at: 6)
            try await copy(base + "/directory", 0o040711)
            try await copy(base + "/link", 0o120777, "deep/file")
            try await copy(base + "/unfinished", 0o100600, "part", of: 10)
            for wrong in ["/etc/passwd", base + "/../../../etc/x", base + "/link/../x", base + "/link/x"] {
                await #expect(throws: (any Error).self, "\(wrong)") { try await copy(wrong, 0o100600, "x", of: 1) }
            }
            let end = try await run(
                "c1",
                """
                cd /copied; cat link; echo; for name in deep deep/file directory link unfinished; do
                busybox stat -c '%n %A %u %g' $name; done; ls /; exit 5
                """, in: sandbox
            ) {
                $0.process?.env = ["PATH=/bin"]
                let names = ["CAP_DAC_OVERRIDE"]
                $0.process?.capabilities?.bounding = names
                $0.process?.capabilities?.effective = names
                $0.process?.capabilities?.permitted = names
                $0.mounts?.append(
                    Mount(destination: "/copied", type: "bind", source: base, options: ["rbind", "ro"]))
            }
            #expect(
                end.output.hasPrefix(
                    """
                    first second
                    deep drwxr-x--- 0 0
                    deep/file -rw-r----- 3 4
                    directory drwx--x--x 3 4
                    link lrwxrwxrwx 3 4
                    bin
                    """), "\(end.output)")
            #expect(end.status == 5)
        }
    }

    @Test("limits, devices, maps, filters and hooks of Kata's messages take effect")
    func messages() async throws {
        try await withGuest { sandbox in
            let end = try await run(
                "c2",
                """
                cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/hugetlb.2MB.max /sys/fs/cgroup/cpu.weight /proc/self/uid_map /tmp/hook
                stat -c '%A %t:%T' /dev/fuse; mkdir /tmp/x 2>&1; grep -e ^Seccomp: -e CapEff /proc/self/status; ulimit -n
                """, in: sandbox
            ) {
                $0.linux?.namespaces?.append(.init(type: "user"))
                let map = [IDMapping(containerID: 0, hostID: 100_000, size: 65536)]
                $0.linux?.uidMappings = map
                $0.linux?.gidMappings = map
                $0.mounts?.append(Mount(destination: "/tmp", type: "tmpfs", source: "tmpfs"))
                $0.linux?.devices = [.init(type: "c", path: "/dev/fuse", major: 10, minor: 229)]
                var limits = Linux.Resources()
                limits.memory = .init()
                limits.memory?.limit = 64 << 20
                limits.cpu = .init()
                limits.cpu?.shares = 512
                limits.hugepageLimits = [.init(pageSize: "2MB", limit: 4 << 20)]
                $0.linux?.resources = limits
                var filter = Linux.Seccomp(defaultAction: "SCMP_ACT_ALLOW")
                filter.syscalls = [.init(names: ["mkdir", "mkdirat"], action: "SCMP_ACT_ERRNO", errnoRet: 28)]
                $0.linux?.seccomp = filter
                $0.process?.env = ["PATH=/bin"]
                $0.process?.noNewPrivileges = true
                $0.hooks = Hooks(startContainer: [
                    Hook(
                        path: "/bin/busybox", args: ["sh", "-c", "busybox grep -o created > /tmp/hook"],
                        env: ["PATH=/bin"])
                ])
            }
            #expect(
                end.output == """
                    67108864
                    4194304
                    20
                             0     100000      65536
                    created
                    crw------- a:e5
                    mkdir: can't create directory '/tmp/x': No space left on device
                    CapEff:\t0000000020000420
                    Seccomp:\t2
                    1024

                    """, "\(end.output)")
            await #expect(throws: (any Error).self) {
                _ = try await run("c3", "true", in: sandbox) { $0.hooks = Hooks(prestart: [Hook(path: "/bin/true")]) }
            }
        }
    }
}

extension Lab.Outcome {
    func check() throws {
        guard status == 0 else { throw LabError(text: error) }
    }
}
