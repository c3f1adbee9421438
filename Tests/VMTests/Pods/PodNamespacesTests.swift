import Testing

/// What containers of a pod share, and how they end.
@Suite(
    "namespaces, limits and ends of a pod's containers", .serialized,
    .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"), .timeLimit(.minutes(30)))
struct PodNamespacesTests {
    /// The configuration of a pod, or of its container, whose processes share one pid namespace.
    private static let sharedProcesses = #"'{"linux": {"security_context": {"namespace_options": {"pid": "POD"}}}}'"#

    @Test("a pod has one IPC namespace, one host name and one shared memory, and its sysctls hold in all containers")
    func shared() throws {
        let outcome = try PodTests.with(
            """
            pod=$(runp names '{"hostname": "web-0", "linux": {"sysctls": {"kernel.shm_rmid_forced": "1",
                "kernel.msgmax": "4321", "fs.mqueue.msg_max": "77", "net.ipv4.ip_local_port_range": "40000 40010"}}}')
            own='{"linux": {"security_context": {"namespace_options": {"pid": "CONTAINER"}}}}'
            first=$(run $pod first "$own" -- sleep 1000); second=$(run $pod second "$own" -- sleep 1000)
            for id in $first $second; do
                echo $(x $id sh -c 'hostname; cd /proc/sys; cat kernel/shm_rmid_forced kernel/msgmax fs/mqueue/msg_max net/ipv4/ip_local_port_range')
            done
            for kind in ipc uts net; do
                [ "$(x $first readlink /proc/self/ns/$kind)" = "$(x $second readlink /proc/self/ns/$kind)" ] && echo one $kind
            done
            [ "$(x $first readlink /proc/self/ns/pid)" = "$(x $second readlink /proc/self/ns/pid)" ] || echo two pid
            x $first sh -c 'echo word > /dev/shm/file'; x $second cat /dev/shm/file
            x $second sh -c 'grep " /dev/shm " /proc/mounts | tr " ," "\\n\\n" | grep -x -e nosuid -e nodev -e noexec; df -k /dev/shm | tail -1 | tr -s " " | cut -d" " -f2'
            cri rmp $pod; left
            """)
        #expect(
            outcome.output == """
                web-0 1 4321 77 40000 40010
                web-0 1 4321 77 40000 40010
                one ipc
                one uts
                one net
                two pid
                word
                nosuid
                nodev
                noexec
                65536

                """, "\(outcome.error)")
    }

    @Test("a container ends with its first process, also in a shared pid namespace, and the pod is removed")
    func ends() throws {
        let shared = Self.sharedProcesses
        let outcome = try PodTests.with(
            """
            pod=$(runp ends \(shared))
            id=$(run $pod child \(shared) -- sh -c 'echo begun; sleep 1002 & sleep 1; exit 5')
            cri wait $id; cri logs $id
            other=$(run $pod other \(shared) -- sh -c 'sleep 1003 & exec sleep 1000')
            x $other ps -o args | grep -c -e 'sleep 1002$' -e 'sleep 1003$'
            cri stop $other 1; cri wait $other | cut -d' ' -f1; cri ps | cut -d' ' -f2- | sort
            cri rmp $pod; cri pods; left
            """)
        #expect(
            outcome.output == """
                5 Error
                begun
                1
                137
                EXITED child
                EXITED other

                """, "\(outcome.error)")
    }

    @Test("a containerd that is killed and started again finds the end of a container whose child held its output open")
    func restarted() throws {
        let shared = Self.sharedProcesses
        let outcome = try PodTests.with(
            """
            pod=$(runp again \(shared))
            id=$(run $pod child \(shared) -- sh -c 'sleep 1002 & sleep 3; exit 6')
            kill -9 $daemon; wait $daemon 2> /dev/null; sleep 4; begin
            cri wait $id; cri rmp $pod; cri pods; left
            """)
        #expect(outcome.output == "6 Error\n", "\(outcome.error)")
    }

    @Test("a process without limits of its own has those of the manager, an exec too; an empty HOME is the user's")
    func limits() throws {
        let outcome = try PodTests.with(
            """
            pod=$(runp limits); id=$(run $pod web '{"envs": [{"key": "HOME"}]}' -- sh -c 'cat /proc/self/limits; echo $HOME; exec sleep 1000')
            logged() { cri logs $id | grep -q ^/root; }; eventually logged
            cat /proc/$$/limits > own; cri logs $id | grep -v '^/root$' > first; x $id cat /proc/self/limits > further
            cmp own first && cmp own further && echo same; cri logs $id | tail -1
            cri rmp $pod; left
            """)
        #expect(outcome.output == "same\n/root\n", "\(outcome.output) \(outcome.error)")
    }

    @Test("below a read-only volume, other mounts stay writable")
    func readOnly() throws {
        let outcome = try PodTests.with(
            """
            mkdir -p volume/below; mount -t tmpfs tmpfs volume/below; mkdir volume/below/deep
            pod=$(runp volumes)
            id=$(run $pod web '{"mounts": [{"container_path": "/v", "host_path": "'$PWD'/volume", "readonly": true}]}' -- sleep 1000)
            x $id sh -c 'touch /v/file 2> /dev/null || echo closed; touch /v/below/file && echo open; touch /v/below/deep/file'
            ls volume/below volume/below/deep; grep -c . volume/below/file
            cri rmp $pod; left
            """)
        #expect(
            outcome.output == """
                closed
                open
                volume/below:
                deep
                file

                volume/below/deep:
                file
                0

                """, "\(outcome.error)")
    }

    @Test("the host's /proc at another place is refused by name, as its files would read as empty")
    func hostProc() throws {
        let outcome = try PodTests.with(
            """
            pod=$(runp exporter)
            run $pod web '{"mounts": [{"container_path": "/host/proc", "host_path": "/proc", "readonly": true}]}' -- sleep 1000 2>&1 |
                grep -o 'mounts.*/proc is the host kernel.s: a guest would read its files as empty'
            cri rmp $pod; left
            """)
        #expect(
            outcome.output.hasSuffix("].source: /proc is the host kernel's: a guest would read its files as empty\n"))
    }

    @Test("a terminal's output goes on after its program closed and reopened it")
    func terminal() throws {
        let outcome = try PodTests.with(
            """
            pod=$(runp terminal)
            id=$(run $pod tty '{"tty": true}' -- sh -c 'echo before; exec <&- >&- 2>&-; sleep 1; i=0
                while [ $i -lt 400 ]; do echo line $i > /dev/console; i=$((i + 1)); done; exit 3')
            cri wait $id; cri logs $id | grep -c -e before -e line
            cri rmp $pod; left
            """)
        #expect(outcome.output == "3 Error\n401\n", "\(outcome.error)")
    }
}
