import Foundation
import TestSupport
import Testing

/// The OCI runtime specification, field by field, in real guests.
@Suite(
    "config.json with real guests", .serialized, .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"),
    .timeLimit(.minutes(30)))
struct SpecificationTests {
    @Test("devices are made as listed, and others can't be used even where a node can be made")
    func devices() throws {
        let outcome = try Lab.run(
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

    @Test(
        "a relative source is the bundle's, a relative destination the container's, and a tmpfs has its directory's mode"
    )
    func paths() throws {
        let outcome = try Lab.run(
            "ls /tmp/bind /b; stat -c '%a %n' /own /new /stated",
            """
            .mounts += [{destination: "/tmp/bind", source: ".", type: "bind", options: ["bind"]},
                {destination: "b", source: "../bundle/sub", type: "bind", options: ["rbind"]},
                {destination: "/own", type: "tmpfs", source: "tmpfs"}, {destination: "/new", type: "tmpfs", source: "tmpfs"},
                {destination: "/stated", type: "tmpfs", source: "tmpfs", options: ["mode=1700"]}]
            | .root.readonly = false | del(.process.user)
            """, before: "mkdir bundle/sub rootfs/stated; touch bundle/sub/file; mkdir -m 710 rootfs/own")
        #expect(
            outcome.output == "/b:\nfile\n\n/tmp/bind:\nconfig.json\nsub\n710 /own\n1777 /new\n1700 /stated\n",
            "\(outcome.output) \(outcome.error)")
    }

    @Test("users and time have namespaces of their own")
    func namespaces() throws {
        let outcome = try Lab.run(
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

    @Test(
        "an id-mapped mount gives a container with a user namespace the files of the host's users, and the host its own back"
    )
    func mappedOwners() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle(
            "stat -c '%u %g %n' /volume/a /mine/a; echo b > /volume/b; stat -c '%u %g' /volume/b")
        let outcome = try lab.sh(
            """
            mkdir volume rootfs/volume rootfs/mine; echo a > volume/a; chown 5:6 volume/a; chmod 777 volume
            jq --arg volume $PWD/volume '.linux.namespaces += [{type: "user"}]
                | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}] | .linux.gidMappings = .linux.uidMappings
                | .mounts += [{destination: "/volume", type: "bind", source: $volume, options: ["rbind", "idmap"]},
                    {destination: "/mine", type: "bind", source: $volume, options: ["rbind", "ro"],
                    uidMappings: [{containerID: 5, hostID: 100001, size: 2}], gidMappings: [{containerID: 5, hostID: 100001, size: 2}]}]
                ' bundle/config.json > c && mv c bundle/config.json
            \(lab.kata) run -b bundle t-owners; stat -c '%u %g' volume/b
            """)
        #expect(outcome.output == "5 6 /volume/a\n1 2 /mine/a\n0 0\n0 0\n", "\(outcome.output) \(outcome.error)")
    }

    @Test("a process has the scheduling and the personality of the specification")
    func process() throws {
        let outcome = try Lab.run(
            "uname -m; umask; cat /proc/self/oom_score_adj; awk '{print $19, $41}' /proc/self/stat; ionice",
            """
            .linux.personality = {domain: "LINUX32"} | .process.user.umask = 63 | .process.oomScoreAdj = 77
            | .process.scheduler = {policy: "SCHED_BATCH", nice: 5}
            | .process.ioPriority = {class: "IOPRIO_CLASS_BE", priority: 2}
            """)
        #expect(
            outcome.output == "i686\n0077\n77\n5 3\nbest-effort: prio 2\n", "\(outcome.output) \(outcome.error)")
    }

    @Test("a program that joins is in all of the container's namespaces, and on the processors that are named for it")
    func joining() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("grep Cpus_allowed_list /proc/self/status; sleep 100")
        let outcome = try lab.sh(
            """
            sed -i 's|^default_vcpus = .*|default_vcpus = 2|' configuration.toml
            jq '.linux.namespaces += [{type: "user"}, {type: "time"}]
                | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}] | .linux.gidMappings = .linux.uidMappings
                | .linux.timeOffsets = {boottime: {secs: 86400}, monotonic: {secs: 5, nanosecs: 7}}
                | .process.execCPUAffinity = {initial: "0", final: "1"}' bundle/config.json > c && mv c bundle/config.json
            k() { \(lab.kata) "$@"; }
            k create -b bundle t-join > out 2>&1 && k start t-join
            k exec --user 3:4 t-join /bin/sh -c 'id -u; awk "{print \\$1, \\$2, \\$3}" /proc/self/uid_map; awk "{print (\\$1 > 86400)}" /proc/uptime
                for name in pid mnt uts ipc user cgroup time; do echo $name $(readlink /proc/self/ns/$name); done > /dev/null
                grep -e Cpus_allowed_list -e CapEff /proc/self/status'
            k exec t-join /bin/sh -c 'for name in pid mnt uts ipc net user cgroup time; do
                [ $(readlink /proc/self/ns/$name) = $(readlink /proc/1/ns/$name) ] && echo $name; done; kill -SEGV $$'; echo $?
            jq '.process | .args = ["/bin/true"] | .execCPUAffinity = {final: "77"}' bundle/config.json > process.json
            k exec -p process.json t-join; echo $?; cat out; k delete --force t-join
            """)
        #expect(
            outcome.output == """
                3
                0 100000 65536
                1
                CapEff:\t0000000000000000
                Cpus_allowed_list:\t1
                pid
                mnt
                uts
                ipc
                net
                user
                cgroup
                time
                139
                255
                Cpus_allowed_list:\t0-1

                """, "\(outcome.output) \(outcome.error)")
        #expect(outcome.error.contains("process.execCPUAffinity.final"), "\(outcome.error)")
        #expect(try lab.leftovers("t-join") == "")
    }

    @Test("a terminal that comes by a socket has the specification's size, for a first process and for one that joins")
    func consoleSize() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("tty; stty size; echo end; sleep 100", terminal: true)
        let outcome = try lab.sh(
            #"""
            cat > receive <<'X'
            import array, os, socket, sys
            listener = socket.socket(socket.AF_UNIX); listener.bind(sys.argv[1]); listener.listen(1)
            peer, _ = listener.accept()
            _, rights, _, _ = peer.recvmsg(4096, socket.CMSG_SPACE(4))
            master, seen = array.array("i", rights[0][2])[0], b""
            while b"end\r\n" not in seen: seen += os.read(master, 4096)
            print(seen.decode().replace("\r", ""), end="", flush=True)
            X
            k() { \#(lab.kata) "$@"; }
            jq '.process.consoleSize = {height: 21, width: 43}' bundle/config.json > c && mv c bundle/config.json
            timeout 120 python3 receive first & while [ ! -e first ]; do sleep 0.05; done
            k create -b bundle --console-socket first t-screen && k start t-screen && wait $!
            jq '.process | .args = ["/bin/sh", "-c", "tty; stty size; echo end; sleep 1"] | .consoleSize = {height: 5, width: 7}' bundle/config.json > process.json
            timeout 120 python3 receive second & while [ ! -e second ]; do sleep 0.05; done
            k exec -d -p process.json --console-socket second t-screen && wait $!
            k exec --tty t-screen /bin/sh -c 'stty -a 2> /dev/null | grep -o -e -onlcr; [ -t 2 ] && echo piped' < /dev/null
            k exec --detach --tty t-screen /bin/true < /dev/null; k delete --force t-screen
            """#)
        #expect(
            outcome.output == "/dev/pts/0\n21 43\nend\n/dev/pts/1\n5 7\nend\n-onlcr\npiped\n",
            "\(outcome.output) \(outcome.error)")
        #expect(outcome.error.contains("standard input is no terminal"), "\(outcome.error)")
        #expect(try lab.leftovers("t-screen") == "")
    }

    @Test(
        "mounts: what a tmpfs covers is copied up, links of the root lead nowhere outside, sockets and fifos can be bound"
    )
    func mounts() throws {
        let outcome = try Lab.run(
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

    /// Changes a config.json to Debian's root, with rights over everything in the guest.
    private static let privileged = """
        .root = {path: "\(Lab.source ?? "")/out/systemd-rootfs"} | .process.noNewPrivileges = false
        | .process.capabilities = (["bounding", "effective", "permitted"] | map({(.): $capabilities[0]}) | add)
        | .process.rlimits = [] | .linux.maskedPaths = [] | .linux.readonlyPaths = []
        | .linux.resources.devices = [{allow: true, access: "rwm"}]
        | .mounts |= map(if .type == "cgroup" or .type == "sysfs" then .options -= ["ro"] else . end)
        | .mounts += (["/run", "/tmp"] | map({destination: ., type: "tmpfs", source: "tmpfs"}))
        """

    @Test("systemd runs as a container's init, takes further programs in, and stops at its signal")
    func systemd() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("true")
        let outcome = try lab.sh(
            """
            k() { timeout 120 \(lab.kata) "$@"; }
            k features | jq .linux.capabilities > capabilities
            jq --slurpfile capabilities capabilities '\(Self.privileged) | .process.args = ["/sbin/init"]
                | .process.env += ["container=docker"] | .process.capabilities |= map_values(. - ["CAP_SYS_ADMIN"])
                | .mounts += [{destination: "/run/lock", type: "tmpfs", source: "tmpfs"}]' bundle/config.json > c && mv c bundle/config.json
            k create -b bundle t-init && k start t-init
            for i in $(seq 60); do
                k exec t-init /bin/systemctl is-system-running 2> /dev/null | grep -q -e running -e degraded && break; sleep 0.5
            done
            k exec t-init /bin/cat /proc/self/cgroup; k exec t-init /bin/systemd-run --wait --pipe -q /bin/echo a unit
            k exec t-init /nope 2>&1 | cat
            k kill t-init SIGRTMIN+3
            for i in $(seq 400); do [ "$(k state t-init | jq -r .status)" = stopped ] && break; sleep 0.25; done
            k state t-init | jq -r .status; k delete t-init
            """)
        #expect(
            outcome.output == "0::/init.scope\na unit\nexecute /nope: no such file or directory\nstopped\n",
            "\(outcome.output) \(outcome.error)")
        #expect(try lab.leftovers("t-init") == "")
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
                #".linux.devices = [{type: "c", path: "/dev/hwrng", major: 10, minor: 183}]"#,
                "linux.devices[0]: /dev/hwrng (c 10:183) belongs to the host"
            ),
            (
                #".linux.devices = [{type: "b", path: "/dev/none", major: 8, minor: 250}]"#,
                "find block device 8:250: no such device"
            ),
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
        ])
    func refusals(change: String, words: String) throws {
        let outcome = try Lab.run("true", change)
        #expect(outcome.status == 1)
        #expect(outcome.error.contains(words), "\(outcome.error)")
        #expect(outcome.error.split(separator: "\n").count == 1, "\(outcome.error)")
    }
}
