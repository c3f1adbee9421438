import Foundation
import TestSupport
import Testing

/// The OCI runtime specification, field by field, in real guests.
@Suite(
    "config.json with real guests", .serialized, .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"),
    .timeLimit(.minutes(10)))
struct SpecificationTests {
    /// Runs a script in a container whose config.json a jq program has changed.
    private func run(_ script: String, _ change: String, before: String = "true", after: String = "true") throws
        -> Lab.Outcome
    {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle(script)
        let quoted = change.replacingOccurrences(of: "'", with: "'\\''")
        let outcome = try lab.sh(
            """
            \(before) && jq '\(quoted)' bundle/config.json > c && mv c bundle/config.json
            \(lab.kata) run -b bundle t-spec; status=$?
            \(after)
            exit $status
            """)
        #expect(try lab.leftovers("t-spec") == "")
        return outcome
    }

    @Test("devices are made as listed, and others can't be used even where a node can be made")
    func devices() throws {
        let outcome = try run(
            """
            ls -ln /dev/fuse /dev/pipe /dev/null | awk '{print $1, $3, $4, $NF}'
            mknod /run/kmsg c 1 11; head -c1 /run/kmsg; echo $?; mknod /run/null c 1 3; echo fine > /run/null && echo $?
            """,
            """
            .linux.devices = [{type: "c", path: "/dev/fuse", major: 10, minor: 229, fileMode: 384, uid: 3, gid: 4},
                {type: "p", path: "/dev/pipe", fileMode: 420}]
            | .linux.resources.devices = [{allow: false, access: "rwm"}]
            | .mounts += [{destination: "/run", type: "tmpfs", source: "tmpfs"}]
            | .process.capabilities |= map_values(. + ["CAP_MKNOD"])
            """)
        #expect(
            outcome.output == "crw------- 3 4 /dev/fuse\ncrw-rw-rw- 0 0 /dev/null\nprw-r--r-- 0 0 /dev/pipe\n1\n0\n",
            "\(outcome.output) \(outcome.error)")
        #expect(outcome.error.contains("Operation not permitted"))
    }

    @Test("users and time have namespaces of their own")
    func namespaces() throws {
        let outcome = try run(
            """
            id -u; awk '{print $1, $2, $3}' /proc/self/uid_map; awk '{print ($1 > 86400)}' /proc/uptime
            echo x > /tmp/x; stat -c %u /tmp/x; echo > /dev/null && head -1 /proc/self/cgroup
            """,
            """
            .linux.namespaces += [{type: "user"}, {type: "time"}]
            | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}] | .linux.gidMappings = .linux.uidMappings
            | .linux.timeOffsets = {boottime: {secs: 86400}}
            | .mounts += [{destination: "/tmp", type: "tmpfs", source: "tmpfs"}]
            """)
        #expect(outcome.output == "0\n0 100000 65536\n1\n0\n0::/\n", "\(outcome.output) \(outcome.error)")
    }

    @Test("how a process is scheduled, and what it believes its machine is, are the specification's")
    func process() throws {
        let outcome = try run(
            "uname -m; umask; cat /proc/self/oom_score_adj; awk '{print $19, $41}' /proc/self/stat; ionice",
            """
            .linux.personality = {domain: "LINUX32"} | .process.user.umask = 63 | .process.oomScoreAdj = 77
            | .process.scheduler = {policy: "SCHED_BATCH", nice: 5}
            | .process.ioPriority = {class: "IOPRIO_CLASS_BE", priority: 2}
            """)
        #expect(
            outcome.output == "i686\n0077\n77\n5 3\nbest-effort: prio 2\n", "\(outcome.output) \(outcome.error)")
    }

    @Test(
        "mounts: what a tmpfs covers is copied up, links of the root lead nowhere outside, sockets and fifos can be bound"
    )
    func mounts() throws {
        let outcome = try run(
            """
            cat /copy/dir/file; readlink /copy/link; echo new > /copy/new && echo rw; cat /etc/resolv.conf
            [ -S /socket ] && [ -p /fifo ] && echo special; echo x > /fixed/sub/x; grep -c ' /fixed.*ro' /proc/mounts
            """,
            """
            .mounts += [{destination: "/copy", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup"]},
                {destination: "/etc/resolv.conf", type: "bind", source: "\\(env.PWD)/names", options: ["bind"]},
                {destination: "/hostile/x", type: "bind", source: "\\(env.PWD)/names", options: ["bind"]},
                {destination: "/socket", type: "bind", source: "\\(env.PWD)/socket", options: ["bind"]},
                {destination: "/fifo", type: "bind", source: "\\(env.PWD)/fifo", options: ["bind"]},
                {destination: "/fixed", type: "bind", source: "\\(env.PWD)/fixed", options: ["rbind", "rro"]}]
            | .root.readonly = false
            """,
            before: """
                mkdir -p rootfs/copy/dir fixed/sub && echo deep > rootfs/copy/dir/file && ln -s dir rootfs/copy/link &&
                echo nameserver 1.2.3.4 > names && ln -s ../run/systemd/resolv.conf rootfs/etc/resolv.conf &&
                ln -s ../../../../outside rootfs/hostile && mkfifo fifo &&
                python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("socket")'
                """, after: "ls rootfs/run/systemd rootfs/outside; ls -d /outside /x 2> /dev/null")
        #expect(
            outcome.output == """
                deep
                dir
                rw
                nameserver 1.2.3.4
                special
                1
                rootfs/outside:
                x

                rootfs/run/systemd:
                resolv.conf

                """, "\(outcome.output) \(outcome.error)")
        #expect(outcome.error.contains("Read-only file system"))
    }

    @Test("hooks run where and when the specification says, with the state on their standard input")
    func hooks() throws {
        let outcome = try run(
            "cat /tmp/state",
            """
            def hook($name): [{path: "\\(env.PWD)/hook", args: ["hook", $name], env: ["PATH=/bin:/usr/bin", "HERE=\\(env.PWD)"]}];
            .hooks = {prestart: hook("prestart"), createRuntime: hook("createRuntime"), poststart: hook("poststart"),
                poststop: hook("poststop"), startContainer: [{path: "/bin/hook", args: ["hook"], env: ["PATH=/bin"]}]}
            | .mounts += [{destination: "/tmp", type: "tmpfs", source: "tmpfs"}]
            """,
            before: #"""
                printf '#!/bin/sh\necho $1 $(jq -rc "[.status,.id,.pid>0,.ociVersion]") >> $HERE/log\n' > hook &&
                printf '#!/bin/sh\ngrep -o created > /tmp/state\n' > rootfs/bin/hook &&
                chmod +x hook rootfs/bin/hook
                """#, after: "cat log")
        #expect(
            outcome.output == """
                created
                prestart ["creating","t-spec",true,"1.2.0"]
                createRuntime ["creating","t-spec",true,"1.2.0"]
                poststart ["running","t-spec",true,"1.2.0"]
                poststop ["stopped","t-spec",false,"1.2.0"]

                """, "\(outcome.output) \(outcome.error)")
    }

    @Test("system calls are filtered in the guest, for programs that join later too")
    func seccomp() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("mkdir /tmp/a; grep ^Seccomp: /proc/self/status; sleep 100")
        let outcome = try lab.sh(
            """
            jq '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_X86_64"], syscalls: [
                {names: ["mkdir", "mkdirat", "no_such_call"], action: "SCMP_ACT_ERRNO", errnoRet: 28}]}
                | .mounts += [{destination: "/tmp", type: "tmpfs", source: "tmpfs"}]' bundle/config.json > c && mv c bundle/config.json
            k() { \(lab.kata) "$@"; }
            for privileges in true false; do
                jq ".process.noNewPrivileges = $privileges" bundle/config.json > c && mv c bundle/config.json
                k create -b bundle t-seccomp > out 2>&1; k start t-seccomp
                k exec t-seccomp /bin/sh -c 'mkdir /tmp/b; grep ^Seccomp: /proc/self/status' 2>&1
                cat out; k delete --force t-seccomp
            done
            sed 's|^disable_guest_seccomp.*||; s|^\\[runtime\\]|&\\ndisable_guest_seccomp = true|' \(lab.configuration) > off.toml
            jq '.process.args = ["/bin/sh", "-c", "mkdir /tmp/c && grep ^Seccomp: /proc/self/status"]' bundle/config.json > c && mv c bundle/config.json
            \(lab.kata) --kata-config off.toml run -b bundle t-seccomp
            """)
        let denied =
            "mkdir: can't create directory '/tmp/b': No space left on device\nSeccomp:\t2\n"
            + "mkdir: can't create directory '/tmp/a': No space left on device\nSeccomp:\t2\n"
        #expect(outcome.output == denied + denied + "Seccomp:\t0\n", "\(outcome.output) \(outcome.error)")
        #expect(try lab.leftovers("t-seccomp") == "")
    }

    @Test("a shell runs under a profile that allows what ordinary programs call and refuses the rest")
    func allowList() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle(
            "echo a | cat; (exit 3); echo $?; mkdir /tmp/a && ls /tmp; grep ^Seccomp: /proc/self/status; unshare -m true; echo end $?; sleep 100"
        )
        let outcome = try lab.sh(
            """
            echo '\(AllowList.profile)' > profile
            jq --slurpfile profile profile '.linux.seccomp = $profile[0] | .process.capabilities.bounding += ["CAP_SYS_ADMIN"]
                | .process.capabilities.effective += ["CAP_SYS_ADMIN"] | .process.capabilities.permitted += ["CAP_SYS_ADMIN"]
                | .mounts += [{destination: "/tmp", type: "tmpfs", source: "tmpfs"}]' bundle/config.json > c && mv c bundle/config.json
            k() { \(lab.kata) "$@"; }
            for privileges in true false; do
                jq ".process.noNewPrivileges = $privileges" bundle/config.json > c && mv c bundle/config.json
                k create -b bundle t-list > out 2>&1; k start t-list
                k exec --user 5:6 t-list /bin/sh -c 'id -u; grep ^Seccomp: /proc/self/status' 2>&1
                for i in $(seq 100); do grep -q '^end' out && break; sleep 0.1; done
                cat out; k delete --force t-list
            done
            """)
        let once = """
            5
            Seccomp:\t2
            a
            3
            a
            Seccomp:\t2
            unshare: unshare(0x20000): Operation not permitted
            end 1

            """
        #expect(outcome.output == once + once, "\(outcome.output) \(outcome.error)")
        #expect(try lab.leftovers("t-list") == "")
    }

    @Test("limits hold, and can be changed while the container runs")
    func limits() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("sleep 100")
        let outcome = try lab.sh(
            """
            jq '.linux.resources = {memory: {limit: 67108864, swap: 67108864}, pids: {limit: 30}, hugepageLimits: [{pageSize: "2MB", limit: 0}],
                unified: {"memory.high": "60000000"}}' bundle/config.json > c && mv c bundle/config.json
            k() { \(lab.kata) "$@"; }
            k create -b bundle t-limits && k start t-limits
            files='cd /sys/fs/cgroup; cat memory.max memory.swap.max pids.max memory.high cpu.max | tr "\\\\n" " "'
            k exec t-limits /bin/sh -c "$files"; echo
            k update --memory 32m --memory-swap 48m --cpu-quota 50000 --pids-limit 20 t-limits
            echo '{"unified":{"memory.high":"max"},"memory":{"swap":41943040}}' | k update -r - t-limits
            k exec t-limits /bin/sh -c "$files"; echo
            k events --stats t-limits | jq -c '[.type, .data.memory.usage.limit, .data.pids.limit]'
            k update --cpu-rt-runtime 5 t-limits; k update --memory 1x t-limits
            k delete --force t-limits
            """)
        #expect(
            outcome.output == """
                67108864 0 30 59998208 max 100000 
                33554432 8388608 20 max 50000 100000 
                ["stats",33554432,20]

                """, "\(outcome.output)")
        #expect(outcome.error.split(separator: "\n").count == 2, "\(outcome.error)")
        #expect(try lab.leftovers("t-limits") == "")
    }

    /// Changes a config.json to Debian's root, with rights over everything in the guest.
    private static let privileged = """
        .root = {path: "\(Lab.source ?? "")/out/systemd-rootfs"} | .process.noNewPrivileges = false
        | .process.capabilities = (["bounding", "effective", "permitted"] | map({(.): $capabilities[0]}) | add)
        | .process.rlimits = [] | .linux.maskedPaths = [] | .linux.readonlyPaths = []
        | .linux.resources.devices = [{allow: true, access: "rwm"}]
        | .mounts |= map(if .type == "cgroup" or .type == "sysfs" then .options -= ["ro"] else . end)
        | .mounts += (["/run", "/tmp"] | map({destination: ., type: "tmpfs", source: "tmpfs"}))
        """

    @Test("systemd runs as a container's init, takes further programs in, and stops when it is told")
    func systemd() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("true")
        let outcome = try lab.sh(
            """
            k() { timeout 20 \(lab.kata) "$@"; }
            k features | jq .linux.capabilities > capabilities
            jq --slurpfile capabilities capabilities '\(Self.privileged) | .process.args = ["/sbin/init"]
                | .process.env += ["container=docker"] | .process.capabilities |= map_values(. - ["CAP_SYS_ADMIN"])
                | .mounts += [{destination: "/run/lock", type: "tmpfs", source: "tmpfs"}]' bundle/config.json > c && mv c bundle/config.json
            k create -b bundle t-systemd && k start t-systemd
            for i in $(seq 60); do
                k exec t-systemd /bin/systemctl is-system-running 2> /dev/null | grep -q -e running -e degraded && break; sleep 0.5
            done
            k exec t-systemd /bin/cat /proc/self/cgroup; k exec t-systemd /bin/systemd-run --wait --pipe -q /bin/echo a unit
            k exec t-systemd /nope 2>&1 | cat
            k kill t-systemd SIGRTMIN+3
            for i in $(seq 60); do [ "$(k state t-systemd | jq -r .status)" = stopped ] && break; sleep 0.25; done
            k state t-systemd | jq -r .status; k delete t-systemd
            """, seconds: 120)
        #expect(
            outcome.output == "0::/init.scope\na unit\nexecute /nope: No such file or directory\nstopped\n",
            "\(outcome.output) \(outcome.error)")
        #expect(try lab.leftovers("t-systemd") == "")
    }

    @Test("a privileged container mounts overlays and runs containers of its own")
    func nested() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle(
            """
            set -e; mkdir -p /tmp/b/rootfs/bin /tmp/l /tmp/u /tmp/w /tmp/m
            mount -t overlay overlay -o lowerdir=/tmp/l,upperdir=/tmp/u,workdir=/tmp/w /tmp/m; echo overlay
            cp /bin/busybox /tmp/b/rootfs/bin/; cd /tmp/b; runc spec
            sed -i 's/"terminal": true/"terminal": false/; s|"sh"|"/bin/busybox", "cat", "/proc/1/cgroup"|' config.json
            runc run inner
            """)
        let outcome = try lab.sh(
            """
            \(lab.kata) features | jq .linux.capabilities > capabilities
            jq --slurpfile capabilities capabilities '\(Self.privileged)' bundle/config.json > c && mv c bundle/config.json
            \(lab.kata) run -b bundle t-nested
            """)
        #expect(outcome.output == "overlay\n0::/\n", "\(outcome.output) \(outcome.error)")
        #expect(try lab.leftovers("t-nested") == "")
    }

    @Test(
        "what can't be done is refused by its field",
        arguments: [
            (
                #".linux.devices = [{type: "b", path: "/dev/sda", major: 8, minor: 0}]"#,
                "linux.devices[0]: /dev/sda (b 8:0) belongs to the host"
            ),
            (#".hooks = {createContainer: [{path: "/bin/true"}]}"#, "hooks.createContainer[0]: /bin/true of the host"),
            (
                #".linux.namespaces |= map(if .type == "ipc" then .path = "/proc/1/ns/ipc" else . end)"#,
                "/proc/1/ns/ipc is the host's"
            ),
            (#".linux.intelRdt = {closID: "x"}"#, "linux.intelRdt"),
            (#".process.apparmorProfile = "mine""#, "process.apparmorProfile"),
            (#".linux.resources.hugepageLimits = [{pageSize: "3MB", limit: 5}]"#, "hugetlb.3MB.max"),
            (#".linux.resources.memory = {swappiness: 10}"#, "linux.resources.memory.swappiness"),
            (
                #".hooks = {startContainer: [{path: "/bin/false"}]}"#,
                "startContainer hook /bin/false: exited with status 1"
            ),
            (#".process.execCPUAffinity = {final: "77"}"#, "process.execCPUAffinity.final"),
        ])
    func refusals(change: String, words: String) throws {
        let outcome = try run("true", change)
        #expect(outcome.status == 1)
        #expect(outcome.error.contains(words), "\(outcome.error)")
        #expect(outcome.error.split(separator: "\n").count == 1, "\(outcome.error)")
    }
}
