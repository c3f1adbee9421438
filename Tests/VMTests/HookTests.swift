import Foundation
import Testing

/// Programs that run beside a container: from its bundle and from the guest's image.
@Suite(
    "hooks with real guests", .serialized, .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"),
    .timeLimit(.minutes(30)))
struct HookTests {
    @Test("hooks run where and when the specification says, with the state on their standard input")
    func hooks() throws {
        let outcome = try Lab.run(
            "cat /tmp/state",
            """
            def hook($name): [{path: "\\(env.PWD)/hook", args: ["hook", $name], env: ["PATH=/bin:/usr/bin", "HERE=\\(env.PWD)"]}];
            .hooks = {prestart: hook("prestart"), createRuntime: hook("createRuntime"), poststart: hook("poststart"),
                poststop: hook("poststop"), startContainer: [{path: "/bin/hook", args: ["hook"], env: ["PATH=/bin"]}]}
            | .mounts += [{destination: "/tmp", type: "tmpfs", source: "tmpfs"}]
            """,
            id: "t-hook",
            before: #"""
                printf '#!/bin/sh\necho $1 $(jq -rc "[.status,.id,.pid>0,.ociVersion]") >> $HERE/log\n' > hook &&
                printf '#!/bin/sh\ngrep -o created > /tmp/state\n' > rootfs/bin/hook &&
                chmod +x hook rootfs/bin/hook
                """#, after: "cat log")
        #expect(
            outcome.output == """
                created
                prestart ["creating","t-hook",true,"1.2.0"]
                createRuntime ["creating","t-hook",true,"1.2.0"]
                poststart ["running","t-hook",true,"1.2.0"]
                poststop ["stopped","t-hook",false,"1.2.0"]

                """, "\(outcome.output) \(outcome.error)")
    }

    @Test("createContainer hooks have the container's files and network, and can't touch the host's names")
    func createContainer() throws {
        let outcome = try Lab.run(
            "cat /etc/hooked /mnt/file; hostname",
            """
            .hooks = {createContainer: [{path: "\\(env.PWD)/hook", env: ["PATH=/bin:/usr/bin:/sbin:/usr/sbin", "ROOT=\\(env.PWD)/rootfs"]}]}
            """,
            id: "t-hook",
            before: #"""
                hostname > name; mkdir -p rootfs/mnt
                cat > hook <<'X' && chmod +x hook
                #!/bin/sh
                set -e
                pid=$(jq -r .pid)
                [ $(readlink /proc/self/ns/net) = $(readlink /proc/$pid/ns/net) ] && echo its network > $ROOT/etc/hooked
                mount -t tmpfs tmpfs $ROOT/mnt && echo its mount > $ROOT/mnt/file
                hostname changed
                X
                true
                """#, after: "hostname | diff - name; ls rootfs/mnt")
        #expect(outcome.output == "its network\nits mount\nkata\n", "\(outcome.output) \(outcome.error)")
    }

    @Test(
        "poststop hooks run once, whatever ends the container: its shim's death, its host's restart, its name's next owner, or a hook that fails"
    )
    func poststop() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("sleep 100")
        let outcome = try lab.sh(
            #"""
            printf '#!/bin/sh\necho $1 $(jq -rc "[.status,.id]") $(readlink /proc/self/ns/net) >> $HERE/log\n' > hook && chmod +x hook
            k() { \#(lab.kata) "$@"; }
            with() { jq "def hook(\$name): [{path: \"$PWD/hook\", args: [\"hook\", \$name], env: [\"PATH=/bin:/usr/bin\", \"HERE=$PWD\"]}];
                .hooks = ({poststop: (hook(\"first\") + [{path: \"/bin/false\"}] + hook(\"second\"))} + $1)" bundle/config.json > c && mv c bundle/config.json; }
            with '{}'; k create -b bundle t-last < /dev/null > out 2>&1; k start t-last
            kill -9 $(cat state/t-last/shim.pid)
            for i in $(seq 400); do [ "$(k state t-last | jq -r .status)" = stopped ] && break; sleep 0.1; done
            k delete t-last; k delete --force t-last; sed "s/$(readlink /proc/self/ns/net | sed 's/[][]/\\&/g')/here/" log; rm log
            with '{}'; k create -b bundle t-last < /dev/null > out 2>&1; kill -9 $(cat state/t-last/shim.pid)
            for i in $(seq 400); do [ "$(k state t-last | jq -r .status)" = stopped ] && break; sleep 0.1; done
            shim() { (cd bundle && \#(lab.binaries)/containerd-shim-kata-v2 -namespace t-next -address a -id t-last $1 < /dev/null); }
            shim start | sed 's|/s/.*||'; echo; shim delete > /dev/null; k delete --force t-last; awk '{print $1, $2}' log; rm log bundle/address bundle/shim.pid
            # In a /run/vc of its own: anybody's next command there would do what is looked for here.
            with '{}'; export -f k; unshare --mount --propagation private bash -c '
                mount -t tmpfs tmpfs /run/vc; k create -b bundle t-last < /dev/null > out 2>&1; kill -9 $(cat state/t-last/shim.pid)
                for i in $(seq 400); do [ "$(k state t-last | jq -r .status)" = stopped ] && break; sleep 0.1; done
                sed -i "s/$(cat /proc/sys/kernel/random/boot_id)/another/" /run/vc/vm/t-last/ledger; rm -f /run/vc/boot
                k list > /dev/null 2> words; ls -d /run/vc/vm/t-last 2> /dev/null; k delete --force t-last'
            grep -c 'poststop hook /bin/false' words; awk '{print "restarted", $1, $2}' log; rm log
            for stage in createRuntime startContainer; do
                with "{$stage: [{path: \"/bin/false\"}]}"; k run -b bundle t-last 2>> errors; echo $?; awk '{print $1, $2}' log | tr '\n' ' '; rm log
            done
            with '{poststart: [{path: "/bin/false"}]}'; k create -b bundle t-last < /dev/null > out 2>&1; k start t-last 2>> errors
            for i in $(seq 400); do [ "$(k state t-last | jq -r .status)" = stopped ] && break; sleep 0.1; done
            k state t-last | jq -r .status; k delete t-last
            """#)
        let ends = String(repeating: "1\nfirst [\"stopped\",\"t-last\"] second [\"stopped\",\"t-last\"] ", count: 2)
        #expect(
            outcome.output == """
                first ["stopped","t-last"] here
                second ["stopped","t-last"] here
                unix:///run/containerd
                first ["stopped","t-last"]
                second ["stopped","t-last"]
                1
                restarted first ["stopped","t-last"]
                restarted second ["stopped","t-last"]
                \(ends)stopped

                """, "\(outcome.output) \(outcome.error)")
        let errors = try lab.sh("cat errors").output.split(separator: "\n")
        #expect(errors.count == 3)
        for (error, stage) in zip(
            errors, ["createRuntime", "startContainer", "poststart"])
        {
            #expect(error.contains("\(stage) hook /bin/false: exited with status 1"), "\(error)")
        }
        #expect(try lab.leftovers("t-last") == "")
    }

    @Test("a poststop hook that takes longer than containerd waits for a shim's delete comes to its end all the same")
    func slowPoststop() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("sleep 100")
        let outcome = try lab.sh(
            #"""
            printf '#!/bin/sh\nwhile [ ! -e $HERE/go ]; do sleep 0.1; done; echo ended > $HERE/log\n' > hook && chmod +x hook
            jq ".hooks = {poststop: [{path: \"$PWD/hook\", env: [\"PATH=/bin:/usr/bin\", \"HERE=$PWD\"]}]}" bundle/config.json > c && mv c bundle/config.json
            k() { \#(lab.kata) "$@"; }
            k create -b bundle t-slow-hook < /dev/null > out 2>&1; kill -9 $(cat state/t-slow-hook/shim.pid)
            (cd state/t-slow-hook && exec \#(lab.binaries)/containerd-shim-kata-v2 -namespace oci -address $PWD/.. -id t-slow-hook delete < /dev/null > ../../answer)
            echo "$? $([ -s answer ] && echo answered)"; ls log 2> /dev/null; ls -d /run/vc/vm/t-slow-hook 2> /dev/null
            touch go; for i in $(seq 400); do [ -e log ] && break; sleep 0.1; done; cat log
            k delete --force t-slow-hook
            """#)
        #expect(outcome.output == "0 answered\nended\n", "\(outcome.output) \(outcome.error)")
        #expect(try lab.leftovers("t-slow-hook") == "")
    }

    @Test(
        "programs of the guest's image run for every container, in the order of their names; one that fails is no obstacle"
    )
    func guestHooks() throws {
        let outcome = try Lab.run(
            "cat /log",
            ".root.readonly = false",
            id: "t-hook",
            before: #"""
                for stage in prestart poststart poststop; do
                    mkdir -p image/hooks/$stage image/bin && cp /bin/busybox image/bin/
                    printf '#!/bin/busybox sh\nread -r state; echo '$stage' $0 $state >> /run/kata-containers/shared/containers/t-hook/rootfs/log\n' > image/hooks/$stage/20-second
                    sed 's/\$0/first/' image/hooks/$stage/20-second > image/hooks/$stage/10-first
                    printf '#!/bin/busybox sh\nexit 3\n' > image/hooks/$stage/15-failing
                    chmod +x image/hooks/$stage/*; cp image/hooks/$stage/20-second image/hooks/$stage/30-text; chmod -x image/hooks/$stage/30-text
                done
                initrd=$(sed -n 's/^initrd = "\(.*\)"/\1/p' configuration.toml)
                { cat $initrd; (cd image && find . | cpio -o -H newc 2> /dev/null); } > initrd
                sed -i "s|^initrd = .*|initrd = \"$PWD/initrd\"|; s|.*guest_hook_path = .*||; s|^\[hypervisor.qemu\]|&\nguest_hook_path = \"/hooks\"|" configuration.toml
                """#, after: #"sed 's/{.*"status":"\([a-z]*\)".*/\1/; s|/hooks/[a-z]*/||' rootfs/log | sed -n '1,$p'"#)
        let lines = outcome.output.split(separator: "\n").map(String.init)
        #expect(lines.first?.hasPrefix(#"prestart first {"#) == true, "\(outcome.output) \(outcome.error)")
        #expect(
            Array(lines.suffix(6)) == [
                "prestart first created", "prestart 20-second created", "poststart first running",
                "poststart 20-second running", "poststop first stopped", "poststop 20-second stopped",
            ], "\(outcome.output) \(outcome.error)")
    }
}
