import Foundation
import Testing

@Suite(
    "a container's process on the host, with real guests", .serialized,
    .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"), .timeLimit(.minutes(30)))
struct HostProcessTests {
    @Test("each task has a pid of its own, with its namespaces and cgroup; it ends with the task, and the task with it")
    func placeholder() throws {
        let outcome = try ContainerdTests().withContainerd(
            """
            cri=io.kubernetes.cri
            run -d --annotation $cri.container-type=sandbox $rootfs t-hp-one /bin/sh -c 'trap "exit 9" USR1; while :; do sleep 0.1; done'
            run -d --annotation $cri.container-type=container --annotation $cri.sandbox-id=t-hp-one $rootfs t-hp-two /bin/sleep 100
            pid() { c task ls | awk "/$1/ {print \\$2}"; }
            one=$(pid t-hp-one); two=$(pid t-hp-two); vm=$(cat /run/vc/vm/t-hp-one/qemu.pid)
            for n in pid ipc uts; do readlink /proc/{$one,$two,$vm}/ns/$n | sort -u | wc -l; done
            readlink /proc/{$one,$two,$vm}/ns/net | sort -u | wc -l
            # Where version 1 has figures, the placeholder is with the machine.
            echo $(grep -c ":/default/t-hp-two$" /proc/$two/cgroup) $(grep -c "^[1-9].*memory:/default/kata_t-hp-one$" /proc/$two/cgroup)
            awk '/^Pss:/ {print ($2 <= 1024) ? "small" : $2}' /proc/$two/smaps_rollup
            kill $daemon; wait $daemon; start
            [ "$(pid t-hp-one) $(pid t-hp-two)" = "$one $two" ] && echo same
            c events > events & watcher=$!
            sleep 0.5; c task kill -s KILL t-hp-two
            for i in $(seq 400); do grep -q /tasks/exit events && break; sleep 0.02; done
            kill -0 $two 2>&1 | grep -c 'No such process'; c task ps t-hp-two | grep -c "$two"
            c task kill t-hp-two 2>&1 | grep -ci 'not found'; c task rm t-hp-two > /dev/null 2>&1; c c rm t-hp-two
            kill -USR1 $one; for i in $(seq 400); do c task ls | grep -q 't-hp-one.*STOPPED' && break; sleep 0.1; done
            c task rm t-hp-one 2>&1 | grep -c 'exit code 9'; c c rm t-hp-one; kill $watcher
            ls -d /sys/fs/cgroup/*/default/t-hp-* 2> /dev/null | wc -l; pgrep -fc '[k]ata-container t-hp-'
            """)
        #expect(
            outcome.output.split(separator: "\n") == [
                "3", "3", "3", "1", "\(Self.unmeasured)", "small", "same", "1", "0", "1", "1", "0", "0",
            ], "\(outcome.output) \(outcome.error)")
    }

    /// Cgroups of a pod's container by its own path, and by the machine's with a memory controller.
    private static var unmeasured: String {
        let text = (try? String(contentsOfFile: "/proc/self/cgroup", encoding: .utf8)) ?? ""
        let plain = text.split(separator: "\n").filter { $0.contains(":freezer:") || $0.contains(":name=systemd:") }
        return plain.isEmpty ? "0 0" : "\(plain.count) 1"
    }

    @Test("SIGKILL of a task's pid ends the task")
    func killed() throws {
        let outcome = try ContainerdTests().withContainerd(
            """
            run -d $rootfs t-hp-kill /bin/sleep 100
            pid=$(c task ls | awk '/t-hp-kill/ {print $2}'); grep -vc ':/default/t-hp-kill$\\|^0::' /proc/$pid/cgroup
            kill -KILL $pid
            for i in $(seq 400); do c task ls | grep -q STOPPED && break; sleep 0.1; done
            c task rm t-hp-kill 2>&1 | grep -c 'exit code 137'; c c rm t-hp-kill; ls /run/vc/vm | grep -c t-hp-kill
            """)
        #expect(outcome.output == "0\n1\n0\n", "\(outcome.output) \(outcome.error)")
    }

    @Test("the host's /sys in a container leaves no cgroup behind")
    func hostSys() throws {
        let outcome = try ContainerdTests().withContainerd(
            """
            run --rm --mount type=bind,src=/sys,dst=/host/sys,options=rbind:ro $rootfs t-hp-sys /bin/ls /host/sys | grep -c fs
            find /sys/fs/cgroup -name '*t-hp-sys' | wc -l
            """)
        #expect(outcome.output == "1\n0\n", "\(outcome.output) \(outcome.error)")
    }

    @Test("the shim answers containerd's question for its features, with options on its standard input and without")
    func info() throws {
        let lab = try Lab()
        defer { lab.remove() }
        let outcome = try lab.sh(
            """
            shim=\(lab.binaries)/containerd-shim-kata-v2
            $shim -info < /dev/null | grep -ac '"rro"'; printf '\\012\\001x' | $shim -info | grep -ac '"rro"'
            $shim features | jq -r '.linux.cgroup.v2'
            """)
        #expect(outcome.output == "1\n1\ntrue\n", "\(outcome.output) \(outcome.error)")
    }

    @Test(
        "a create that is killed leaves nothing that list doesn't show, and its id can be used again",
        arguments: ["0.05", "0.3", "0.8", "1.5", "2.5", "4"])
    func killedCreate(delay: String) throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("sleep 100")
        // The first command must not go to the background: the change of directory would go with it.
        let outcome = try lab.sh(
            """
            true
            \(lab.kata) create -b bundle t-hp-cut > /dev/null 2>&1 < /dev/null & create=$!
            sleep \(delay); kill -9 $create; wait $create 2> /dev/null; killed=$?
            processes() { pgrep -af '[-]id t-hp-cut( |$)|[s]andbox-t-hp-cut|[s]andboxes/t-hp-cut/'; }
            # A create that had ended before the signal needs its delete.
            if [ $killed = 0 ]; then \(lab.kata) delete --force t-hp-cut; fi
            # An unused shim ends after 30 seconds.
            for i in $(seq 450); do processes > left || [ -e /run/vc/vm/t-hp-cut ] || break; sleep 0.1; done; cat left >&2
            ls /run/vc/vm | grep -c t-hp-cut
            [ ! -e state/t-hp-cut ] || \(lab.kata) list | grep -q t-hp-cut || echo unseen
            \(lab.kata) check --leaks | grep -c t-hp-cut > leaks
            \(lab.kata) create -b bundle t-hp-cut < /dev/null > /dev/null || echo in use
            \(lab.kata) delete --force t-hp-cut; for i in $(seq 400); do processes > left || break; sleep 0.1; done; wc -l < left; ls state | wc -l
            """)
        #expect(outcome.output == "0\n0\n0\n", "\(outcome.output) \(outcome.error)")
    }
}
