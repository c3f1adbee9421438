import Foundation
import LinuxKernel
import ShimAPI
import SwiftProtobuf
import Testing

/// Replays of Docker. From 23 on it drives containerd's shim, and Debian 12 has no such version. The calls are those
/// of moby's daemon, its network library and its containerd.
@Suite(
    "Docker's calls to the shim, with real guests", .serialized,
    .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"), .timeLimit(.minutes(30)))
struct DockerReplayTests {
    private static func identifier() -> String {
        (0..<32).map { _ in String(format: "%02x", UInt8.random(in: 0...255)) }.joined()
    }

    /// Acts on a pid's network namespace as libnetwork does: a link, addresses, and a resolver behind 127.0.0.11 that
    /// answers every name.
    private static let network = #"""
        cat > resolver.py <<'X'
        import socket
        service = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        service.bind(("127.0.0.11", 53))
        open("resolver.ready", "w").close()
        while True:
            question, client = service.recvfrom(512)
            end = question.index(b"\0", 12) + 5
            known = question[end - 4:end - 2] == b"\0\1"
            answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + bytes([172, 30, 0, 1]) if known else b""
            service.sendto(question[:2] + b"\x81\x80\0\1" + bytes([0, known]) + b"\0\0\0\0" + question[12:end] + answer, client)
        X
        cat > attach <<'X' && chmod +x attach
        #!/bin/bash
        set -e
        cd "$(dirname "$0")"
        name=v${PWD##*-}; name=${name:0:14}
        ip link add $name type veth peer name ${name}p
        ip link set ${name}p netns $1 name eth0
        ip addr add 172.30.0.1/16 dev $name; ip link set $name up
        exec nsenter --net=/proc/$1/ns/net bash -ec 'ip link set lo up; ip addr add 172.30.0.2/16 dev eth0; ip link set eth0 up
            ip route add default via 172.30.0.1; python3 resolver.py > resolver.log 2>&1 & echo $! > resolver.pid
            for i in $(seq 400); do [ -e resolver.ready ] && exit; sleep 0.05; done; exit 1'
        X
        """#

    /// A specification as Docker writes it for `docker run -d -m 64m NAME`, with the namespaces and hooks of a version.
    private static func config(
        _ id: String, _ lab: Lab, root: String, group: String, namespaces: [String], hooks: String, script: String
    ) throws -> String {
        let capabilities =
            #"["CAP_CHOWN","CAP_DAC_OVERRIDE","CAP_FSETID","CAP_FOWNER","CAP_MKNOD","CAP_NET_RAW","CAP_SETGID","CAP_SETUID","CAP_SETFCAP","CAP_SETPCAP","CAP_NET_BIND_SERVICE","CAP_SYS_CHROOT","CAP_KILL","CAP_AUDIT_WRITE"]"#
        let files = ["resolv.conf", "hostname", "hosts"].map {
            #"{"destination":"/etc/\#($0)","type":"bind","source":"\#(lab.directory)/files/\#($0)","options":["rbind","rprivate"]}"#
        }.joined(separator: ",")
        let outcome = try lab.sh(
            """
            jq -n --arg script '\(script.replacingOccurrences(of: "'", with: "'\\''"))' '\(hooks) as $hooks | {
                "ociVersion":"1.2.0",
                "process":{"user":{"uid":0,"gid":0,"additionalGids":[0,10]},"args":["sh","-c",$script],
                    "env":["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin","HOSTNAME=\(id.prefix(12))"],"cwd":"/",
                    "capabilities":{"bounding":\(capabilities),"effective":\(capabilities),"permitted":\(capabilities)},
                    "apparmorProfile":"docker-default","oomScoreAdj":0},
                "root":{"path":"\(root)"},"hostname":"\(id.prefix(12))",
                "mounts":[{"destination":"/proc","type":"proc","source":"proc","options":["nosuid","noexec","nodev"]},
                    {"destination":"/dev","type":"tmpfs","source":"tmpfs","options":["nosuid","strictatime","mode=755","size=65536k"]},
                    {"destination":"/dev/pts","type":"devpts","source":"devpts","options":["nosuid","noexec","newinstance","ptmxmode=0666","mode=0620","gid=5"]},
                    {"destination":"/sys","type":"sysfs","source":"sysfs","options":["nosuid","noexec","nodev","ro"]},
                    {"destination":"/sys/fs/cgroup","type":"cgroup","source":"cgroup","options":["ro","nosuid","noexec","nodev"]},
                    {"destination":"/dev/mqueue","type":"mqueue","source":"mqueue","options":["nosuid","noexec","nodev"]},
                    {"destination":"/dev/shm","type":"tmpfs","source":"shm","options":["nosuid","noexec","nodev","mode=1777","size=67108864"]},
                    \(files)],
                "hooks":$hooks,
                "linux":{"sysctl":{"net.ipv4.ip_unprivileged_port_start":"0","net.ipv4.ping_group_range":"0 2147483647"},
                    "resources":{"devices":[{"allow":false,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":5,"access":"rwm"},
                            {"allow":true,"type":"c","major":1,"minor":3,"access":"rwm"},{"allow":true,"type":"c","major":1,"minor":9,"access":"rwm"},
                            {"allow":true,"type":"c","major":1,"minor":8,"access":"rwm"},{"allow":true,"type":"c","major":5,"minor":0,"access":"rwm"},
                            {"allow":true,"type":"c","major":5,"minor":1,"access":"rwm"},{"allow":false,"type":"c","major":10,"minor":229,"access":"rwm"}],
                        "memory":{"limit":67108864,"swap":134217728},"cpu":{"shares":0},"pids":{"limit":0},"blockIO":{"weight":0}},
                    "cgroupsPath":"\(group)","namespaces":(\(namespaces) | map({type: .})),
                    "seccomp":{"defaultAction":"SCMP_ACT_ALLOW","architectures":["SCMP_ARCH_X86_64","SCMP_ARCH_X86","SCMP_ARCH_X32"],
                        "syscalls":[{"names":["clone3"],"action":"SCMP_ACT_ERRNO","errnoRet":38}]},
                    "maskedPaths":["/proc/acpi","/proc/asound","/proc/kcore","/proc/interrupts","/proc/keys","/proc/scsi","/sys/firmware",
                        "/sys/devices/virtual/powercap","/sys/devices/system/cpu/cpu0/thermal_throttle"],
                    "readonlyPaths":["/proc/bus","/proc/fs","/proc/irq","/proc/sys","/proc/sysrq-trigger"]}}'
            """)
        guard outcome.status == 0 else { throw LabError(text: outcome.error) }
        return outcome.output
    }

    /// Replays a container's life after its creation: Docker's requests, in its order, until nothing is left.
    private func day(_ id: String, _ shim: Manager.Shim, _ manager: Manager, pid: UInt32) async throws {
        var connect = Containerd_Task_V2_ConnectRequest()
        connect.id = id
        let connected: Containerd_Task_V2_ConnectResponse = try await shim.call("Connect", connect)
        #expect(connected.taskPid == pid)
        #expect(try await shim.state().status == .created)
        // A wait may begin before the process exists.
        async let end = shim.wait()
        try await shim.start()
        try await shim.wait(for: "ready")
        #expect(
            shim.output == """
                \(id.prefix(12))
                172.30.0.1 host.of.names
                inet 172.30.0.2/16
                172.30.0.1
                1 packets received
                0
                ready

                """)
        var update = Containerd_Task_V2_UpdateTaskRequest()
        update.id = id
        update.resources = Google_Protobuf_Any(
            specification: "LinuxResources",
            json: #"{"memory":{"limit":50331648,"swap":100663296},"cpu":{"shares":512,"quota":50000,"period":100000}}"#)
        try await shim.perform("Update", update)
        var stats = Containerd_Task_V2_StatsRequest()
        stats.id = id
        let figures: Containerd_Task_V2_StatsResponse = try await shim.call("Stats", stats)
        switch figures.stats.typeURL {
        case "io.containerd.cgroups.v1.Metrics":
            let metrics = try Io_Containerd_Cgroups_V1_Metrics(serializedBytes: Array(figures.stats.value))
            #expect(metrics.memory.usage.limit == 50_331_648)
            #expect(metrics.memory.usage.usage > 0 && metrics.cpu.hasUsage && metrics.cpu.hasThrottling)
            #expect(metrics.network.contains { $0.name == "eth0" && $0.rxBytes > 0 })
        case "io.containerd.cgroups.v2.Metrics":
            let metrics = try Io_Containerd_Cgroups_V2_Metrics(serializedBytes: Array(figures.stats.value))
            #expect(metrics.memory.usageLimit == 50_331_648 && metrics.memory.usage > 0)
        case let other: Issue.record("figures of type \(other)")
        }
        try await exec(shim, manager)
        for method in ["Pause", "Resume"] {
            var request = Containerd_Task_V2_PauseRequest()
            request.id = id
            try await shim.perform(method, request)
        }
        try await shim.kill(15)
        #expect(try await end == 7)
        #expect(try await shim.delete() == 7)
        try await shim.shutdown()
        try await manager.wait(for: "delete")
        #expect(
            manager.events == [
                "create", "start", "exec-added", "exec-started", "exit of exec", "delete", "paused", "resumed", "exit",
                "delete",
            ])
        for _ in 0..<50 where Files.exists(shim.socket) { try await Task.sleep(for: .milliseconds(20)) }
        #expect(!Files.exists(shim.socket))
        #expect(try manager.lab.leftovers(id) == "")
    }

    /// `docker exec -i`.
    private func exec(_ shim: Manager.Shim, _ manager: Manager) async throws {
        let id = "e" + Self.identifier().dropFirst()
        var request = Containerd_Task_V2_ExecProcessRequest()
        (request.id, request.execID) = (shim.id, id)
        (request.stdin, request.stdout) = (shim.bundle + "/exec-in", shim.bundle + "/exec")
        request.spec = Google_Protobuf_Any(
            specification: "Process",
            json:
                #"{"terminal":false,"user":{"uid":1000,"gid":1000},"args":["sh","-c","cat; id -u; exit 5"],"env":["PATH=/bin"],"cwd":"/"}"#
        )
        try manager.lab.sh("cd \(shim.bundle); mkfifo exec exec-in; cat exec > execed & echo piped > exec-in &").check()
        try await shim.perform("Exec", request)
        try await shim.start(exec: id)
        var close = Containerd_Task_V2_CloseIORequest()
        (close.id, close.execID, close.stdin) = (shim.id, id, true)
        try await shim.perform("CloseIO", close)
        try await manager.wait(for: "exit of exec")
        #expect(try await shim.state(exec: id).exitStatus == 5)
        #expect(try await shim.delete(exec: id) == 5)
        try await shim.wait(for: "1000", in: "execed")
        #expect(try Files.readText(shim.bundle + "/execed") == "piped\n1000\n")
    }

    private static let script = """
        hostname; grep names /etc/hosts; ip addr show eth0 | grep -o 'inet [0-9./]*'; nslookup web | awk '/^Address.*172/ {print $NF}'
        ping -c 1 web | grep -o '1 packets received'; cat /proc/sys/net/ipv4/ip_unprivileged_port_start; trap 'exit 7' TERM; echo ready
        while :; do sleep 0.1; done
        """

    private func withLab(_ body: @Sendable (Lab, String) async throws -> Void) async throws {
        try await Lab.apart { try await self.prepared(body) }
    }

    private func prepared(_ body: @Sendable (Lab, String) async throws -> Void) async throws {
        let lab = try Lab()
        let id = Self.identifier()
        defer {
            // Acts after a failure as containerd does after the loss of a shim.
            _ = try? lab.sh(
                """
                [ -d tasks/\(id) ] && cd tasks/\(id) && \(lab.binaries)/containerd-shim-kata-v2 -namespace moby -address a -id \(id) delete > /dev/null
                cd \(lab.directory); kill $(cat resolver.pid); umount key
                rmdir /sys/fs/cgroup/*/\(Self.group(lab)) /sys/fs/cgroup/*/\(Self.group(lab)).slice
                """)
            lab.remove()
        }
        try lab.sh(
            "mkdir files; echo box > files/hostname; echo '172.30.0.1 host.of.names' > files/hosts; " + Self.network
        ).check()
        try await body(lab, id)
    }

    private static func group(_ lab: Lab) -> String { "replay" + (lab.directory.split(separator: "-").last ?? "") }

    @Test(
        "Docker 23 to 27: a hook finds the network namespace by the state's pid, and names are resolved in it",
        arguments: ["prestart", "createRuntime"])
    func hook(_ stage: String) async throws {
        try await withLab { lab, id in
            try lab.sh(
                #"""
                printf 'nameserver 127.0.0.11\noptions ndots:0\n' > files/resolv.conf
                cat > setkey <<'X'
                cd "$(dirname "$0")"; state=$(cat); tr '\0' ' ' < /proc/$$/cmdline | cut -d' ' -f1,3- > hooked; jq -r '.status, .id' <<< $state >> hooked
                exec ./attach $(jq .pid <<< $state)
                X
                """#
            ).check()
            let controller = String(Self.identifier().prefix(12))
            // A hook that runs the daemon's program under another name; here a shell with a script.
            let hook =
                #"{"\#(stage)":[{"path":"/proc/\#(getpid())/root/bin/bash","args":["libnetwork-setkey","\#(lab.directory)/setkey","-exec-root=/var/run/docker","\#(id)","\#(controller)"],"env":["PATH=/bin:/usr/bin:/sbin:/usr/sbin"]}]}"#
            let config = try Self.config(
                id, lab, root: lab.rootfs, group: "/\(Self.group(lab))/\(id)",
                namespaces: ["mount", "network", "uts", "pid", "ipc"], hooks: hook, script: Self.script)
            let manager = try await Manager(lab)
            // daemon.json's runtimes: {"kata": {"runtimeType": …, "options": {"ConfigPath": …}}}
            var options = Runtimeoptions_V1_Options()
            (options.typeURL, options.configPath) = ("io.containerd.kata.v2.Options", lab.configuration)
            let given = try Google_Protobuf_Any(plain: options)
            let shim = try await manager.shim(id, config: config, input: try given.serializedBytes())
            #expect(shim.service == "containerd.task.v2.Task")
            let pid = try await shim.create(input: true, options: given)
            #expect(
                try lab.sh("cat hooked").output
                    == "libnetwork-setkey -exec-root=/var/run/docker \(id) \(controller) \ncreating\n\(id)\n")
            try await day(id, shim, manager, pid: pid)
        }
    }

    @Test(
        "Docker 28 and later: the network comes to the task's pid after its creation, with names and hosts that are written then; its root is an overlay"
    )
    func key() async throws {
        try await withLab { lab, id in
            try lab.sh(
                "printf 'nameserver 192.0.2.7\\n' > files/resolv.conf; : > files/hosts; mkdir upper work; touch key"
            ).check()
            let config = try Self.config(
                id, lab, root: "rootfs", group: "\(Self.group(lab)).slice:docker:\(id)",
                namespaces: ["mount", "network", "uts", "pid", "ipc", "cgroup", "time"], hooks: "{}",
                script: Self.script)
            let manager = try await Manager(lab, runtime: lab.configuration)
            var bootstrap = Containerd_Runtime_Bootstrap_V1_BootstrapParams()
            (bootstrap.instanceID, bootstrap.namespace, bootstrap.containerdVersion) = (id, "moby", "v2.3.0")
            (bootstrap.containerdTtrpcAddress, bootstrap.containerdGrpcAddress) = (
                lab.directory + "/events.ttrpc", "/run/c"
            )
            let shim = try await manager.shim(id, config: config, input: try bootstrap.serializedBytes())
            #expect(shim.service == "containerd.task.v3.Task")
            let overlay = Containerd_Types_Mount(
                "overlay", "overlay",
                [
                    "index=off", "workdir=\(lab.directory)/work", "upperdir=\(lab.directory)/upper",
                    "lowerdir=\(lab.rootfs)",
                ])
            let pid = try await shim.create(rootfs: [overlay], input: true)
            // The namespace is kept by its name, as under Docker, and the files that the container reads are written
            // in place.
            try lab.sh(
                """
                mount --bind /proc/\(pid)/ns/net key; ./attach \(pid)
                printf 'nameserver 127.0.0.11\\noptions ndots:0\\n' > files/resolv.conf; echo '172.30.0.1 host.of.names' >> files/hosts
                """
            ).check()
            try await day(id, shim, manager, pid: pid)
            #expect(try lab.sh("grep -c \(lab.directory)/tasks /proc/mounts").output == "0\n")
        }
    }
}
