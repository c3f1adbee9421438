import Foundation
import Testing

@Suite(
    "kata-runtime with real guests", .serialized, .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"),
    .timeLimit(.minutes(30)))
struct CommandLineTests {
    private func withLab(_ body: (Lab) throws -> Void) throws {
        let lab = try Lab()
        defer { lab.remove() }
        try body(lab)
    }

    @Test("a container has its own kernel, its streams, and its status")
    func run() throws {
        try withLab { lab in
            try lab.bundle("uname -r; cat; echo problem >&2; exit 7")
            let outcome = try lab.sh("echo input | \(lab.kata) run -b bundle t-run")
            #expect(outcome.status == 7)
            let lines = outcome.output.split(separator: "\n")
            #expect(lines.count == 2 && lines[0].contains(Lab.kernelName) && lines[1] == "input")
            #expect(outcome.error.contains("problem"))
            #expect(try lab.leftovers("t-run") == "")
        }
    }

    @Test(
        "no program has brought full Foundation along: 40 MB that each shim would hold",
        arguments: ["containerd-shim-kata-v2", "kata-runtime", "kata-agent", "kata-osbuilder"])
    func size(_ program: String) throws {
        try withLab { lab in
            let bytes = try lab.sh("stat -c %s \(lab.binaries)/\(program)").output.trimmingCharacters(in: .newlines)
            #expect(try #require(Int(bytes)) < 32 << 20, "\(program)")
        }
    }

    @Test("help and version are answers, mistakes are one line and status 1, of exec 255")
    func usage() throws {
        try withLab { lab in
            for flag in ["--version", "-v"] {
                #expect(try lab.sh("\(lab.kata) \(flag)").output.hasPrefix("kata-runtime  : "))
            }
            #expect(
                try lab.sh("\(lab.kata) --kata-show-default-config-paths").output
                    == "/etc/kata-containers/configuration.toml\n/usr/share/defaults/kata-containers/configuration.toml\n"
            )
            #expect(try lab.sh("\(lab.kata) --help").output.contains("SUBCOMMANDS:"))
            #expect(try lab.sh("\(lab.kata) run --help").output.contains("--bundle"))
            for mistake in [
                "frobnicate", "run", "state nope", "kill nope", "kill nope NOSIGNAL", "delete nope", "run 'a/b'",
                "exec nope true", "run --preserve-fds 1 x", "exec --preserve-fds 1 nope true",
                "exec --cgroup a nope true",
            ] {
                let outcome = try lab.sh("\(lab.kata) \(mistake)")
                #expect(outcome.status == (mistake.hasPrefix("exec") ? 255 : 1), "\(mistake)")
                #expect(outcome.error.split(separator: "\n").count == 1, "\(mistake): \(outcome.error)")
            }
            for change in ["run x", "create x", "start x", "delete x", "exec x true", "kata-network add-iface x -"] {
                let outcome = try lab.sh("setpriv --reuid 65534 --clear-groups \(lab.kata) \(change)")
                #expect(outcome.status == (change.hasPrefix("exec") ? 255 : 1))
                #expect(outcome.error.contains("needs root of the host"), "\(outcome.error)")
                #expect(outcome.error.split(separator: "\n").count == 1, "\(outcome.error)")
            }
            #expect(try lab.sh("\(lab.kata) frobnicate").error.contains("Invalid command \"frobnicate\""))
            #expect(try lab.sh("\(lab.kata) --log empty list -q && wc -c < empty").output == "0\n")
            #expect(try lab.sh("\(lab.kata) --log debug --debug list -q && grep -c level=debug debug").output == "2\n")
            #expect(try lab.sh("\(lab.kata) --debug list -q").error.split(separator: "\n").count == 2)
            _ = try lab.sh("\(lab.kata) --log-format json --log log.json state nope")
            #expect(try lab.sh("jq -r .msg log.json").output == "container \"nope\" does not exist\n")
        }
    }

    @Test("paths of the command line are the caller's, also relative ones")
    func relativePaths() throws {
        try withLab { lab in
            try lab.bundle("echo fine")
            let outcome = try lab.sh(
                "\(lab.binaries)/kata-runtime --root ./state/ --kata-config configuration.toml run -b bundle t-relative"
            )
            #expect(outcome.output == "fine\n", "\(outcome.error)")
            #expect(try lab.leftovers("t-relative") == "")
        }
    }

    @Test("create, start, state, exec, kill and delete do as runc's do")
    func lifeCycle() throws {
        try withLab { lab in
            try lab.bundle("trap 'exit 9' TERM; while true; do sleep 0.1; done")
            let outcome = try lab.sh(
                """
                set -e
                status() { \(lab.kata) state t-life | jq -r .status; }
                \(lab.kata) create -b bundle --pid-file pid t-life < /dev/null > out 2>&1
                test "$(status)" = created
                kill -0 $(cat pid)
                if \(lab.kata) create -b bundle t-life < /dev/null 2> again; then exit 1; fi
                grep -q 'in use' again
                \(lab.kata) start t-life
                test "$(status)" = running
                test "$(\(lab.kata) exec t-life echo hello)" = hello
                \(lab.kata) exec --cwd /tmp --env A=b --user 5:6 t-life sh -c 'test $PWD/$A/$(id -u):$(id -g) = /tmp/b/5:6'
                \(lab.kata) exec t-life sh -c 'exit 4' || test $? = 4
                if \(lab.kata) exec t-life nothing-here 2> missing; then exit 1; fi
                grep -q 'executable file not found' missing
                if \(lab.kata) exec --user '' t-life true 2> user; then exit 1; fi
                grep -q 'expected UID' user
                if \(lab.kata) delete t-life 2> running; then exit 1; fi
                grep -q 'is running' running
                \(lab.kata) list | grep -q t-life
                kill -TERM $(cat pid)
                for i in $(seq 400); do [ "$(status)" = stopped ] && break; sleep 0.1; done
                test "$(status)" = stopped
                \(lab.kata) delete t-life
                if \(lab.kata) state t-life 2> unknown; then exit 1; fi
                grep -q 'does not exist' unknown
                """)
            #expect(outcome.status == 0, "\(outcome.error)")
            #expect(try lab.leftovers("t-life") == "")
        }
    }

    @Test("what a state doesn't allow is refused in one line, and changes nothing")
    func wrongStates() throws {
        try withLab { lab in
            try lab.bundle("sleep 100 & exec sleep 99")
            let outcome = try lab.sh(
                """
                k() { \(lab.kata) "$@"; }
                refused() { k "$@" > /dev/null 2> error && echo "accepted: $*"; [ $(wc -l < error) = 1 ] && echo "$1: $(cat error)" || echo "$*: $(cat error)"; }
                k create -b bundle t-wrong > out 2>&1
                refused create -b bundle t-wrong; k exec t-wrong /bin/echo early < /dev/null; refused resume t-wrong
                k pause t-wrong; k state t-wrong | jq -r .status; refused start t-wrong; k resume t-wrong
                k state t-wrong | jq -r .status
                k start t-wrong; refused start t-wrong; refused delete t-wrong; refused resume t-wrong
                k pause t-wrong; k state t-wrong | jq -r .status; refused pause t-wrong; refused exec t-wrong /bin/true; refused delete t-wrong
                k resume t-wrong; k state t-wrong | jq -r .status
                k kill t-wrong 0 && echo runs; k kill --all t-wrong KILL
                for i in $(seq 400); do [ "$(k state t-wrong | jq -r .status)" = stopped ] && break; sleep 0.1; done
                refused start t-wrong; refused kill t-wrong TERM; refused kill t-wrong 0; k ps t-wrong | wc -l; k ps -f json t-wrong
                k kill --all t-wrong TERM && echo nobody left
                refused exec t-wrong /bin/true; refused pause t-wrong; refused update --memory 64m t-wrong; refused events --stats t-wrong
                k state t-wrong | jq -c '[.status, .pid]'
                k delete t-wrong && refused delete t-wrong; k delete --force t-wrong && echo gone
                for verb in state start kill pause resume ps; do refused $verb t-wrong; done
                """)
            #expect(
                outcome.output == """
                    create: container id "t-wrong" is in use; delete it or choose another
                    early
                    resume: container t-wrong is not paused
                    paused
                    start: container t-wrong is paused; resume it first
                    created
                    start: process of container t-wrong is running, not created
                    delete: container "t-wrong" is running: stop it first, or use --force
                    resume: container t-wrong is not paused
                    paused
                    pause: container t-wrong is paused, not running
                    exec: container t-wrong is paused; resume it first
                    delete: container "t-wrong" is running: stop it first, or use --force
                    running
                    runs
                    start: process of container t-wrong is stopped, not created
                    kill: container "t-wrong" is not running
                    kill: container "t-wrong" is not running
                    1
                    null
                    nobody left
                    exec: container t-wrong is stopped, not running
                    pause: container t-wrong is stopped, not running
                    update: container "t-wrong" is not running
                    events: container "t-wrong" is not running
                    ["stopped",0]
                    delete: container "t-wrong" does not exist
                    gone
                    state: container "t-wrong" does not exist
                    start: container "t-wrong" does not exist
                    kill: container "t-wrong" does not exist
                    pause: container "t-wrong" does not exist
                    resume: container "t-wrong" does not exist
                    ps: container "t-wrong" does not exist

                    """, "\(outcome.output)")
            #expect(try lab.leftovers("t-wrong") == "")
        }
    }

    @Test("the workload gets its user, limits, capabilities, masked and read-only paths, and a process tree of its own")
    func confinement() throws {
        try withLab { lab in
            try lab.bundle(
                """
                echo pid $$; ulimit -n; grep CapEff /proc/self/status; grep NoNewPrivs /proc/self/status; hostname; id -u
                cat /proc/kcore 2>&1 | wc -c; echo 1 > /proc/sys/kernel/panic; ls /sys/fs/cgroup/cgroup.procs; cat /proc/1/cgroup
                """)
            let outcome = try lab.sh("\(lab.kata) run -b bundle t-confined")
            let text = outcome.output
            for expected in [
                "pid 1\n", "\n1024\n", "CapEff:\t0000000020000420", "NoNewPrivs:\t1", "\nkata\n", "\n0\n", "0::/\n",
            ] {
                #expect(text.contains(expected), "\(expected) is missing in \(text)")
            }
            #expect(outcome.error.contains("/proc/sys/kernel/panic"))
        }
    }

    @Test(
        "exec does what each of its options says, and a container ends with its first process, whatever its children hold open"
    )
    func exec() throws {
        try withLab { lab in
            try lab.bundle("sleep 300 & while [ ! -e /tmp/end ]; do sleep 0.1; done; exit 6")
            let outcome = try lab.sh(
                """
                k() { \(lab.kata) "$@"; }
                jq '.mounts += [{destination: "/tmp", type: "tmpfs", source: "tmpfs"}]' bundle/config.json > c && mv c bundle/config.json
                k create -b bundle t-exec && k start t-exec
                k exec --cwd /etc --env A=b --user 5:6 --additional-gids 7 --cap CAP_NET_RAW --no-new-privs t-exec \
                    /bin/sh -c 'pwd; echo $A; id -u; id -G; grep -e NoNewPrivs -e CapBnd /proc/self/status'
                jq '.process | .args = ["/bin/sh", "-c", "echo from a file; exit 4"] | .apparmorProfile = "docker-default"' \
                    bundle/config.json > process.json
                k exec -p process.json t-exec; echo $?
                k exec --apparmor strange t-exec /bin/true; echo $?
                k exec -d --pid-file pid t-exec /bin/sleep 200; kill -0 $(cat pid) && echo detached
                k exec --user root t-exec /bin/true; k exec -p missing.json t-exec; k exec t-exec
                k exec t-exec /bin/touch /tmp/end
                for i in $(seq 400); do [ "$(k state t-exec | jq -r .status)" = stopped ] && break; sleep 0.1; done
                k state t-exec | jq -r .status; k exec t-exec /bin/true; echo $?
                k delete t-exec
                for i in $(seq 400); do grep -q '^State:.*[RSD] ' /proc/$(cat pid)/status 2> /dev/null || break; sleep 0.1; done
                [ $i -lt 400 ] && echo gone
                """)
            let lines = outcome.output.split(separator: "\n").map(String.init)
            #expect(
                lines == [
                    "/etc", "b", "5", "6 7", "CapBnd:\t0000000020002420", "NoNewPrivs:\t1", "from a file", "4", "255",
                    "detached", "stopped", "255", "gone",
                ], "\(outcome.output)")
            #expect(outcome.error.split(separator: "\n").count == 5, "\(outcome.error)")
            #expect(try lab.leftovers("t-exec") == "")
        }
    }

    @Test("ps lists the container's processes, metrics prints figures of its guest")
    func processes() throws {
        try withLab { lab in
            try lab.bundle("sleep 99 & sleep 98")
            let outcome = try lab.sh(
                """
                k() { \(lab.kata) "$@"; }
                k create -b bundle t-ps; k ps t-ps | wc -l; k start t-ps
                for i in $(seq 400); do [ $(k ps t-ps | wc -l) = 3 ] && break; sleep 0.1; done
                k ps t-ps | head -1 | tr -s ' '; k ps t-ps -o comm | sort | tr '\\n' ' '; k ps -f json t-ps | jq ". == [$(k state t-ps | jq .pid)]"
                k ps t-ps -Z; k ps -f xml t-ps; k ps nope
                k metrics t-ps | grep -c -e '^kata_agent_startup_seconds{item="agent_listens"} [0-9]' -e '^kata_agent_total_rss [0-9]' -e '^kata_guest_meminfo{item="memtotal"} [0-9]'
                k kata-network list-ifaces t-ps | jq -c '.[0] | [.name, .mtu, .IPAddresses[0].address]'
                k kata-network list-routes t-ps
                k delete --force t-ps
                """)
            #expect(
                outcome.output == """
                    2
                    UID PID PPID C STIME TTY TIME CMD
                    COMMAND sleep sleep true
                    3
                    ["lo",65536,"127.0.0.1"]
                    []

                    """, "\(outcome.output)")
            #expect(outcome.error.split(separator: "\n").count == 3, "\(outcome.error)")
            #expect(try lab.leftovers("t-ps") == "")
        }
    }

    @Test("a process begins with its three streams and its environment, and with nothing of the agent's")
    func begins() throws {
        try withLab { lab in
            try lab.bundle("sleep 99")
            let outcome = try lab.sh(
                """
                k() { \(lab.kata) "$@"; }
                jq '.process.args = ["sleep", "99"] | .process.env = ["PATH=/bin", "A=b"]' bundle/config.json > c && mv c bundle/config.json
                k run -d -b bundle t-begin </dev/null >/dev/null 2>&1
                echo $(k exec t-begin ls /proc/self/fd) of exec, $(k exec t-begin ls /proc/1/fd)
                echo $(k exec t-begin cat /proc/self/oom_score_adj /proc/1/oom_score_adj)
                k exec t-begin sh -c 'echo -1 > /proc/self/oom_score_adj' 2>/dev/null || echo stays
                echo $(k exec t-begin grep -h -e SigBlk -e SigIgn /proc/self/status /proc/1/status)
                echo $(k exec t-begin env | sort) $(k exec t-begin cat /proc/1/environ | tr '\\0' ' ')
                grep -c 'waits for its host' /run/vc/vm/t-begin/console.log
                k delete --force t-begin
                """)
            #expect(
                outcome.output == """
                    0 1 2 3 of exec, 0 1 2
                    0 0
                    stays
                    SigBlk: 0000000000000000 SigIgn: 0000000000000000 SigBlk: 0000000000000000 SigIgn: 0000000000000000
                    A=b HOME=/root PATH=/bin PATH=/bin A=b HOME=/root
                    0

                    """, "\(outcome.output) \(outcome.error)")
            #expect(try lab.leftovers("t-begin") == "")
        }
    }

    @Test("a terminal is the caller's, with its size, and follows it")
    func terminal() throws {
        try withLab { lab in
            try lab.bundle(Lab.terminalScript, terminal: true)
            let outcome = try lab.sh("\(Lab.terminal) \(lab.kata) run -b bundle t-tty")
            #expect(outcome.output == "/dev/pts/0\n20 50\nready\n33 77\n", "\(outcome.output) \(outcome.error)")
            #expect(outcome.status == 3)
            #expect(try lab.leftovers("t-tty") == "")
        }
    }

    @Test(
        "a terminal's output goes where standard output leads, as under runc, and its input comes from standard input")
    func terminalInPipe() throws {
        try withLab { lab in
            try lab.bundle("read -r word; tty; echo \"got $word\"; exit 4", terminal: true)
            let outcome = try lab.sh("echo input | \(lab.kata) run -b bundle t-tty-pipe > out; echo $?; cat out")
            #expect(outcome.output == "4\ninput\n/dev/pts/0\ngot input\n", "\(outcome.output) \(outcome.error)")
            // A reader that goes away hangs the terminal up; the program would block for ever otherwise.
            try lab.bundle("yes", terminal: true)
            let gone = try lab.sh(
                "timeout 60 \(lab.kata) run -b bundle t-tty-pipe < /dev/null | head -1; [ ${PIPESTATUS[0]} != 124 ] && echo ended"
            )
            #expect(gone.output == "y\nended\n", "\(gone.output) \(gone.error)")
            #expect(try lab.leftovers("t-tty-pipe") == "")
        }
    }

    @Test("megabytes of output arrive whole, and the status behind them")
    func output() throws {
        try withLab { lab in
            try lab.bundle("dd if=/dev/zero bs=64k count=320 2>/dev/null; exit 5")
            let outcome = try lab.sh("\(lab.kata) run -b bundle t-output | wc -c; echo ${PIPESTATUS[0]}")
            #expect(outcome.output == "20971520\n5\n")
        }
    }

    @Test("1 GiB of output through a reader that takes 16 KiB at a time costs the shim less than 2 MiB")
    func slowReader() throws {
        try withLab { lab in
            try lab.bundle("exec sleep 1000")
            let outcome = try lab.sh(
                """
                \(lab.kata) create -b bundle t-reader < /dev/null > out 2>&1 && \(lab.kata) start t-reader || cat out
                shim=$(pgrep -f '[-]id t-reader( |$)')
                size() { awk '/^RssAnon:/ {print $2}' /proc/$shim/status; }
                flood() { \(lab.kata) exec t-reader dd if=/dev/zero bs=64k count=$1 2> /dev/null | dd bs=16k of=/dev/null 2> /dev/null; }
                flood 640; before=$(size); flood 16384; after=$(size)
                [ $((after - before)) -lt 2048 ] && echo bounded || echo "from $before to $after kB"
                \(lab.kata) delete --force t-reader
                """)
            #expect(outcome.output == "bounded\n", "\(outcome.error)")
        }
    }

    @Test("a bind mount shows the host's files, read-only when asked")
    func mounts() throws {
        try withLab { lab in
            try lab.bundle("cat /data/file; echo more >> /data/file; echo no > /fixed/x || exit 6")
            let outcome = try lab.sh(
                """
                mkdir data; echo text > data/file
                jq '.mounts += [{destination: "/data", type: "bind", source: "\(lab.directory)/data", options: ["rbind", "rw"]},
                    {destination: "/fixed", type: "bind", source: "\(lab.directory)/data", options: ["rbind", "ro"]}]' \
                    bundle/config.json > c && mv c bundle/config.json
                \(lab.kata) run -b bundle t-mounts; echo $?; cat data/file
                """)
            #expect(outcome.output == "text\n6\ntext\nmore\n")
        }
    }

    @Test("what the host changes in a share is seen in the guest within two seconds")
    func coherence() throws {
        try withLab { lab in
            try lab.bundle(
                "cat /data/file; echo ready; for i in $(seq 400); do grep -q two /data/file && [ -e /data/new ] && exit 0; sleep 0.1; done; exit 1"
            )
            let outcome = try lab.sh(
                """
                mkdir data; echo one > data/file
                jq '.mounts += [{destination: "/data", type: "bind", source: "\(lab.directory)/data", options: ["rbind"]}]' \
                    bundle/config.json > c && mv c bundle/config.json
                \(lab.kata) run -b bundle t-coherent > out & pid=$!
                for i in $(seq 400); do grep -q ready out && break; sleep 0.1; done
                echo two > data/file; touch data/new; wait $pid
                """)
            #expect(outcome.status == 0, "\(outcome.error)")
        }
    }

    @Test("a killed QEMU ends the container at once, with status 137, and leaves nothing")
    func killedMachine() throws {
        try withLab { lab in
            try lab.bundle("sleep 100")
            let outcome = try lab.sh(
                """
                \(lab.kata) run -b bundle t-killed & pid=$!
                for i in $(seq 400); do [ "$(\(lab.kata) state t-killed 2>/dev/null | jq -r .status)" = running ] && break; sleep 0.1; done
                kill -KILL $(cat /run/vc/vm/t-killed/qemu.pid); start=$SECONDS
                wait $pid; echo $? $((SECONDS - start < 3))
                """)
            #expect(outcome.output == "137 1\n", "\(outcome.error)")
            #expect(try lab.leftovers("t-killed") == "")
        }
    }

    @Test(
        "a state from before states had versions is understood; one of a later version is refused in one line, and stays"
    )
    func versions() throws {
        try withLab { lab in
            let outcome = try lab.sh(
                """
                k() { \(lab.kata) "$@"; }
                state() { mkdir -p state/t-aged; echo '{"ociVersion":"1.0.2","id":"t-aged","bundle":"/b","rootfs":"/b/rootfs",
                    "address":"/nowhere/s","pid":4000000,"created":"2024-01-01T00:00:00Z","owner":0,"annotations":{}'$1'}' > state/t-aged/state.json; }
                state; k state t-aged | jq -c '[.id, .status]'; k list | grep -c t-aged; k delete t-aged; ls state
                state ',"version":2'; for verb in state start "delete --force"; do k $verb t-aged; done; ls state
                echo garbage > state/t-aged/state.json; k state t-aged; k delete --force t-aged; ls state
                """)
            #expect(outcome.output == "[\"t-aged\",\"stopped\"]\n1\nt-aged\n", "\(outcome.output)")
            let errors = outcome.error.split(separator: "\n")
            #expect(errors.count == 4, "\(outcome.error)")
            for error in errors.prefix(3) {
                #expect(error.contains("was written by a later version of this program (format 2, this one knows 1)"))
            }
        }
    }

    struct Failure: Sendable, CustomTestStringConvertible {
        let name: String
        /// A fault of the lab's set-up.
        let breakage: String
        let expected: String
        var testDescription: String { name }
    }

    @Test(
        "an error is one line, and nothing is left",
        arguments: [
            Failure(
                name: "no kernel", breakage: "sed -i 's|^kernel = .*|kernel = \"/nowhere\"|' configuration.toml",
                expected: "hypervisor.qemu.kernel: /nowhere: no such file"),
            Failure(
                name: "garbage kernel",
                breakage: "echo x > k; sed -i \"s|^kernel = .*|kernel = \\\"$PWD/k\\\"|\" configuration.toml",
                expected: "QEMU did not start its machine"),
            Failure(
                name: "an option that QEMU refuses",
                breakage:
                    "sed -i 's|^machine_type = .*|&\\nmachine_accelerators = \"nonsense=on\"|' configuration.toml",
                expected: "QEMU refused an option: see machine_type"),
            Failure(
                name: "a damaged initrd",
                breakage:
                    "head -c 100000 /dev/urandom > i; sed -i \"s|^initrd = .*|initrd = \\\"$PWD/i\\\"|\" configuration.toml",
                expected: "/i is damaged, or no initrd: build it anew"),
            Failure(
                name: "initrd without agent",
                breakage:
                    "(mkdir e; cd e; find . | cpio -o -H newc > ../i 2>/dev/null); sed -i \"s|^initrd = .*|initrd = \\\"$PWD/i\\\"|\" configuration.toml",
                expected: "it came as far as its kernel; the initrd "),
            Failure(
                name: "a guest that panics",
                breakage:
                    "sed -i 's|^kernel_params = .*|kernel_params = \"rdinit=/nothing init=/nothing\"|' configuration.toml",
                expected: "Kernel panic"),
            Failure(
                name: "a guest that never answers",
                breakage:
                    """
                    mkdir -p e/bin e/dev; cp /bin/busybox e/bin/sh; cp /bin/busybox e/bin/sleep; mknod e/dev/console c 5 1
                    printf '#!/bin/sh\nsleep 1000\n' > e/init; chmod +x e/init; (cd e; find . | cpio -o -H newc > ../i 2>/dev/null)
                    sed -i "s|^initrd = .*|initrd = \\"$PWD/i\\"|; s|^dial_timeout = .*|dial_timeout = 4|" configuration.toml
                    """,
                expected: "its kernel runs and has nothing to do; is there a kata-agent in "),
            Failure(
                name: "too little memory",
                breakage:
                    "sed -i 's|^default_memory = .*|default_memory = 64|; s|^dial_timeout = .*|dial_timeout = 10|' configuration.toml",
                expected: "64 MiB are too little: raise default_memory"),
            Failure(
                name: "no virtiofsd",
                breakage: "sed -i 's|^virtio_fs_daemon = .*|virtio_fs_daemon = \"/nowhere\"|' configuration.toml",
                expected: "hypervisor.qemu.virtio_fs_daemon"),
            Failure(
                name: "no QEMU", breakage: "sed -i 's|^path = .*|path = \"/nowhere\"|' configuration.toml",
                expected: "hypervisor.qemu.path"),
            Failure(
                name: "wrong type",
                breakage: "sed -i 's|^default_memory = .*|default_memory = \"x\"|' configuration.toml",
                expected: "hypervisor.qemu.default_memory: expected a number"),
            Failure(name: "no config.json", breakage: "rm bundle/config.json", expected: "open "),
            Failure(
                name: "broken config.json", breakage: "echo '{' > bundle/config.json",
                expected: "config.json: not valid JSON"),
            Failure(
                name: "no rootfs",
                breakage: "jq '.root.path = \"none\"' bundle/config.json > c; mv c bundle/config.json",
                expected: "root.path"),
            Failure(
                name: "no such command",
                breakage: "jq '.process.args = [\"nope\"]' bundle/config.json > c; mv c bundle/config.json",
                expected: "exec: \"nope\": executable file not found in $PATH"),
            Failure(
                name: "not executable",
                breakage: "jq '.process.args = [\"/etc/passwd\"]' bundle/config.json > c; mv c bundle/config.json",
                expected: "execute /etc/passwd: permission denied"),
        ])
    func failures(failure: Failure) throws {
        try withLab { lab in
            try lab.bundle("true")
            let outcome = try lab.sh("\(failure.breakage)\n\(lab.kata) run -b bundle t-failure")
            #expect(outcome.status == 1)
            #expect(outcome.error.contains(failure.expected), "\(outcome.error)")
            #expect(outcome.error.split(separator: "\n").count == 1, "\(outcome.error)")
            #expect(try lab.leftovers("t-failure") == "")
        }
    }
}
