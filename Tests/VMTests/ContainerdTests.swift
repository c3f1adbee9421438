import Foundation
import Testing

@Suite(
    "containerd with real guests", .serialized, .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"),
    .timeLimit(.minutes(30)))
struct ContainerdTests {
    /// containerd with its own directories and socket, for one test.
    func withContainerd(_ script: String, seconds: Int = Lab.deadline) throws -> Lab.Outcome {
        let lab = try Lab()
        defer { lab.remove() }
        return try lab.sh(
            """
            cat > containerd.toml <<X
            version = 2
            root = "$PWD/root"
            state = "$PWD/run"
            disabled_plugins = ["io.containerd.grpc.v1.cri"]
            [grpc]
            address = "$PWD/c.sock"
            [ttrpc]
            address = "$PWD/c.sock.ttrpc"
            X
            export PATH=\(lab.binaries):$PATH KATA_RUNTIME_CONFIG=\(lab.configuration)
            start() {
                containerd -c containerd.toml > containerd.log 2>&1 & daemon=$!
                for i in $(seq 400); do ctr -a c.sock version > /dev/null 2>&1 && break; sleep 0.1; done
            }
            c() { ctr -a c.sock "$@"; }
            run() { c run --runtime io.containerd.kata.v2 --rootfs "$@"; }
            trap 'kill $daemon; wait $daemon' EXIT
            start
            rootfs=\(lab.rootfs)
            \(script)
            """, seconds: seconds)
    }

    @Test("ctr run gives streams apart, and the status")
    func run() throws {
        let outcome = try withContainerd(
            """
            echo input | run --rm $rootfs t-ctr /bin/sh -c 'uname -r; cat; echo problem >&2; exit 7' > out 2> err; echo $?
            grep -c -e \(Lab.kernelName) out; grep -c input out; grep -c problem err; ls /run/vc/vm | grep -c t-ctr
            """)
        #expect(outcome.output == "7\n1\n1\n1\n0\n", "\(outcome.error)")
    }

    @Test("a task is run in, paused, measured, killed and deleted, and its events come in order")
    func task() throws {
        let outcome = try withContainerd(
            """
            c events > events & watcher=$!
            run -d $rootfs t-task /bin/sh -c 'trap "exit 9" TERM; while true; do sleep 0.1; done'
            c task exec --exec-id e1 t-task /bin/sh -c 'exit 4'; echo exec $?
            c task pause t-task; c task ls | grep -c PAUSED
            c task exec --exec-id e2 t-task true 2>&1 | grep -c 'container t-task is paused; resume it first'
            c task resume t-task; c task ls | grep -c RUNNING
            c task metrics t-task | grep -cE '^memory.usage(_in_bytes)? '
            c task ps t-task | grep -c -- -
            c task kill t-task
            for i in $(seq 400); do c task ls | grep -q STOPPED && break; sleep 0.1; done
            c task rm t-task; echo status $?
            c c rm t-task; kill $watcher
            awk '{print $6}' events | grep tasks | tr '\\n' ' '
            """)
        let text = outcome.output
        #expect(text.hasPrefix("exec 4\n1\n1\n1\n1\n"), "\(text) \(outcome.error)")
        let order = [
            "/tasks/create", "/tasks/start", "/tasks/exec-added", "/tasks/exec-started", "/tasks/exit", "/tasks/paused",
            "/tasks/resumed",
            "/tasks/exit",
        ]
        let seen = text.split(whereSeparator: \.isWhitespace).map(String.init).filter {
            $0.hasPrefix("/tasks/") && $0 != "/tasks/delete"
        }
        #expect(seen == order, "\(text)")
    }

    @Test(
        "containers of a pod share a guest, and its processes with a shared pid namespace; each has its own files and profile"
    )
    func pod() throws {
        let outcome = try withContainerd(
            """
            printf 'abi <abi/3.0>,\\nprofile kata-pod flags=(attach_disconnected) { file, capability, signal, deny /etc/group r, }\\n' > profile
            apparmor_parser --skip-kernel-load --skip-cache --stdout profile > $rootfs/profile 2> /dev/null; echo hidden > $rootfs/etc/group
            cri=io.kubernetes.cri
            run -d --privileged --annotation $cri.container-type=sandbox $rootfs t-pod /bin/sh -c '
                mount -t securityfs none /sys/kernel/security; dd if=/profile of=/sys/kernel/security/apparmor/.load bs=1M; exec sleep 77' > out 2>&1
            for i in $(seq 400); do c task exec --exec-id w$i t-pod /bin/ps -o args | grep -q 'sleep 77$' && break; sleep 0.1; done
            member() { run --annotation $cri.container-type=container --annotation $cri.sandbox-id=t-pod "$@"; }
            ns=/proc/$(c task ls | awk '/t-pod/ {print $2}')/ns
            member --rm --with-ns pid:$ns/pid --with-ns ipc:$ns/ipc --with-ns uts:$ns/uts $rootfs t-shared /bin/sh -c \
                'ps -o pid,args | grep -c "^ *1 sleep 77"; kill -0 1 && [ $$ != 1 ] && echo joined'
            member --rm --with-ns ipc:$ns/ipc $rootfs t-apart /bin/sh -c 'ps -o args | grep -c "sleep 77$"; echo own $$'
            member --rm --apparmor-profile kata-pod $rootfs t-armor /bin/sh -c 'cat /proc/self/attr/current /etc/group' 2>&1
            ls /run/vc/vm | grep -c -e t-pod -e t-shared -e t-apart -e t-armor; c task kill -s KILL t-pod
            for i in $(seq 400); do c task ls | grep -q STOPPED && break; sleep 0.1; done
            c task rm t-pod > /dev/null 2>&1; c c rm t-pod; for i in $(seq 400); do [ -e /run/vc/vm/t-pod ] || break; sleep 0.1; done; ls /run/vc/vm | grep -c t-pod
            """)
        #expect(
            outcome.output == """
                1
                joined
                0
                own 1
                kata-pod (enforce)
                cat: can't open '/etc/group': Permission denied
                1
                0

                """, "\(outcome.output) \(outcome.error)")
    }

    @Test("a container that takes more memory than its limit ends with 137, and an event says why")
    func outOfMemory() throws {
        let outcome = try withContainerd(
            """
            c events > events & watcher=$!
            run --memory-limit 20000000 $rootfs t-oom /bin/dd if=/dev/zero of=/dev/null bs=100M count=1; echo $?
            c c rm t-oom
            run -d --memory-limit 20000000 $rootfs t-update /bin/sleep 100
            c task metrics --format json t-update | jq '.memory | .usage.limit? // .usage_limit'
            kill $watcher; grep -c /tasks/oom events; grep /tasks/oom events | grep -c t-oom
            c task rm -f t-update > /dev/null 2>&1; c c rm t-update
            """)
        #expect(outcome.output == "137\n19996672\n1\n1\n", "\(outcome.output) \(outcome.error)")
    }

    @Test("a task goes on while containerd is started again, and is still managed")
    func restart() throws {
        let outcome = try withContainerd(
            """
            run -d $rootfs t-again /bin/sleep 100
            kill $daemon; wait $daemon; start
            c task ls | grep -c RUNNING
            c task exec --exec-id e t-again /bin/echo still
            c task kill -s KILL t-again
            for i in $(seq 400); do c task ls | grep -q STOPPED && break; sleep 0.1; done
            c task rm t-again > /dev/null 2>&1; c c rm t-again; ls /run/vc/vm | grep -c t-again
            """)
        #expect(outcome.output == "1\nstill\n0\n", "\(outcome.error)")
    }

    @Test("a killed shim's task ends, and nothing of it is left")
    func killedShim() throws {
        let outcome = try withContainerd(
            """
            run -d $rootfs t-shim /bin/sleep 100
            machine=$(cat /run/vc/vm/t-shim/qemu.pid)
            kill -KILL $(cat run/io.containerd.runtime.v2.task/default/t-shim/shim.pid)
            runs() { grep -qs '^State:.[^ZX]' /proc/$machine/status; }
            for i in $(seq 400); do runs || break; sleep 0.1; done
            runs && echo still there
            for i in $(seq 400); do [ -d /run/vc/vm/t-shim ] || break; sleep 0.1; done
            ls -d /run/vc/vm/t-shim /run/kata-containers/shared/sandboxes/t-shim 2> /dev/null
            c task ls | grep -c t-shim; c c rm t-shim; pgrep -fc '[s]andboxes/t-shim/'
            """)
        #expect(outcome.output == "0\n0\n", "\(outcome.error)")
    }

    @Test("a terminal has the manager's size, and follows it")
    func terminal() throws {
        let outcome = try withContainerd(
            "\(Lab.terminal) ctr -a c.sock run --rm -t --runtime io.containerd.kata.v2 --rootfs $rootfs t-term /bin/sh -c '\(Lab.terminalScript)'"
        )
        #expect(outcome.output == "/dev/pts/0\n20 50\nready\n33 77\n", "\(outcome.output) \(outcome.error)")
        #expect(outcome.status == 3)
    }

    @Test("many containers in a row leave nothing")
    func manyInARow() throws {
        let outcome = try withContainerd(
            """
            run -d $rootfs t-row /bin/sleep 100
            socket=$(sed 's|unix://||' run/io.containerd.runtime.v2.task/default/t-row/address); ls $socket | wc -l
            c task rm -f t-row > /dev/null 2>&1; c c rm t-row
            for i in $(seq 10); do run --rm $rootfs t-row /bin/true || echo failed; done
            for i in $(seq 400); do [ -e $socket ] || break; sleep 0.1; done
            ls /run/vc/vm | grep -c t-row; grep -c t-row /proc/mounts; pgrep -fc '[s]andbox-t-row '
            ls $socket 2> /dev/null | wc -l; c c ls -q | wc -l
            """)
        #expect(outcome.output == "1\n0\n0\n0\n0\n0\n", "\(outcome.error)")
    }
}
