import Testing

/// Options of `run` in Docker and in Podman.
extension ManagersTests {
    /// Two disks of the host, a file system on each, for the time of the script. $written holds a file that was on the
    /// first.
    private static let disks = #"""
        for each in one two; do
            truncate -s 8M $each; mkfs.ext4 -q $each; loops="$loops $(losetup -f --show $PWD/$each)"
        done
        one=$(echo $loops | cut -d ' ' -f 1) two=$(echo $loops | cut -d ' ' -f 2)
        released() { losetup -d $one $two; for i in $(seq 400); do [ -z "$(losetup -j $PWD/one; losetup -j $PWD/two)" ] && break; sleep 0.1; done; losetup -j $PWD/one; }
        """#

    /// Stops a container, and prints its status and the time: with a limit of one second, or the managers' ten.
    private static let stopped = #"""
        stopped() {
            local before=$(date +%s%N); $1 stop $2 > /dev/null 2>&1; local took=$((($(date +%s%N) - before) / 1000000))
            echo $2 $($1 inspect -f '{{.State.ExitCode}}' $2) $([ $2 = deaf ] && [ $took -ge 1000 ] && echo waited) $([ $took -lt 9000 ] || echo long)
        }
        """#

    /// A script for a container with all rights and one disk: prints its rights, and its view of the host.
    private static let privileged = #"""
        grep CapEff /proc/self/status | tr -s "\t" " "; grep -c "Seccomp:.0" /proc/self/status; mkdir /m
        mount -t ext4 /dev/mine /m && echo kept > /m/file; mount -t tmpfs none /m && echo mounted
        echo 1 > /proc/sys/vm/drop_caches && echo dropped; ls -d /dev/kmsg
        ls /dev | grep -cE "^(sd|vd|nvme|dm-|tty[0-9])"; grep -c "[hsv]d[a-z]$" /proc/partitions
        """#

    /// A script for a container with two disks, the second of which is read-only.
    private static func given(_ one: String) -> String {
        #"""
        md5sum < \#(one); echo x | dd of=/dev/xvdc 2>&1 | grep -o "not permitted"; mknod /n b 8 16; head -c 1 /n > /dev/null && echo read
        grep -c "[hsv]d[a-z]$" /proc/partitions; cut -d " " -f 2 /sys/fs/cgroup/io.max
        """#
    }

    /// A script for a container that asks for the host's namespaces and gets the guest's. It tries to rename the
    /// host.
    private static let namespaces = #"""
        hostname; hostname changed; hostname; cut -d / -f 1-2 /proc/self/cgroup; cat /proc/1/comm
        cat /proc/1/oom_score_adj; cd /sys/fs/cgroup; cat pids.max cpu.max cpu.weight; cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax
        """#

    private static let namespaceOptions =
        "--sysctl net.ipv4.ip_forward=1 --sysctl kernel.shmmax=12345678 --uts host --userns host --cgroupns host --pid host --cap-add SYS_ADMIN"
        + " --oom-score-adj 77 --pids-limit 44 --cpus 1.5 --cpu-shares 512 --cpuset-cpus 0 --cpuset-mems 0"

    private static func namespaceResult(_ parent: String) -> String {
        "localhost\nchanged\n0::/\(parent)\nsleep\n77\n44\n150000 100000\n20\n1\n12345678\n"
    }

    @Test(
        "Docker: namespaces of the host are the guest's, limits hold in it, processors are the host's; ipc modes; what no guest has is refused in our words"
    )
    func dockerOptions() throws {
        let outcome = try withDocker(
            Self.first + #"""

                was=$(hostname)
                d run -d --name opts --runtime kata \#(Self.namespaceOptions) busybox sleep 1000 > /dev/null
                d exec opts sh -c '\#(Self.namespaces)'; [ "$(hostname)" = "$was" ] && echo unchanged
                machine=$(cat /run/vc/vm/$(d inspect -f "{{.Id}}" opts)/qemu.pid); cat /proc/$machine/task/*/status | grep -xm 1 "Cpus_allowed_list:.0" | tr '\t' ' '
                d top opts -o pid,comm | awk 'NR > 1 {print $2}'; d rm -f opts > /dev/null
                shm='stat -f -c %T /dev/shm; df -k /dev/shm | tail -1 | tr -s " " | cut -d " " -f 2; readlink /proc/self/ns/ipc > /out/ipc'
                mkdir out; run --ipc private -v $PWD/out:/out busybox sh -c "$shm"; mv out/ipc private
                run --ipc host -v $PWD/out:/out busybox sh -c "$shm" | sed -n 1p; cmp -s out/ipc private || echo apart
                run --ipc none busybox ls -d /dev/shm /dev/mqueue
                first run --sysctl vm.swappiness=11 busybox true; first run --oom-kill-disable -m 64m busybox true
                first run --memory-swappiness 10 busybox true
                truncate -s 1M disk; loop=$(losetup -f --show $PWD/disk); first run --device-read-bps $loop:1mb busybox true | sed "s/: 7:[0-9]*/: 7:N/"; losetup -d $loop
                """#)
        #expect(
            outcome.output == Self.namespaceResult("docker") + """
                unchanged
                Cpus_allowed_list: 0
                kata-runtime
                tmpfs
                65536
                tmpfs
                apart
                /dev/mqueue
                125 invalid argument "vm.swappiness=11" for "--sysctl" flag: sysctl 'vm.swappiness=11' is not allowed
                125 config.json: linux.resources.memory.disableOOMKiller: cgroup v2 can't switch the OOM killer off: unknown
                125 config.json: linux.resources.memory.swappiness: cgroup v2 has no swappiness of a group: unknown
                125 config.json: linux.resources.blockIO.throttleReadBpsDevice: 7:N is a disk of the host that the container doesn't have: give it with linux.devices: unknown

                """, "\(outcome.error)")
    }

    @Test(
        "Docker: disks of the host are the guest's own, with their rights and limits; a privileged one has all of its guest and nothing of its host"
    )
    func dockerDevices() throws {
        let outcome = try withDocker(
            Self.first + "\n" + Self.disks + #"""

                md5sum < one; run --device $one --device $two:/dev/xvdc:r --device-read-bps $one:1mb busybox sh -c '\#(Self.given("$0"))' $one
                run --privileged --device $one:/dev/mine busybox sh -c '\#(Self.privileged)'
                first run --privileged --device /dev/tty0:/dev/modem busybox true | sed 's/devices.[0-9]*./devices[N]/'
                released; debugfs -R 'cat /file' one 2> /dev/null
                """#)
        let sum = outcome.output.split(separator: "\n").first ?? ""
        #expect(
            outcome.output == """
                \(sum)
                \(sum)
                not permitted
                read
                2
                rbps=1048576
                CapEff: 0000003fffffffff
                1
                mounted
                dropped
                /dev/kmsg
                0
                1
                125 config.json: linux.devices[N]: /dev/modem (c 4:0) belongs to the host and is not in the guest: unknown
                kept

                """, "\(outcome.error)")
    }

    @Test("Docker: a container whose program its guest has killed for lack of memory is OOMKilled, and no other")
    func dockerOutOfMemory() throws {
        let outcome = try withDocker(
            """
            of() { d run --name $1 --runtime kata -m 60m "${@:2}" > /dev/null 2>&1; d inspect -f '{{.State.ExitCode}} {{.State.OOMKilled}}' $1; }
            of full --tmpfs /big busybox dd if=/dev/zero of=/big/x bs=1M count=200
            of killed busybox sh -c 'sh -c "kill -9 \\$\\$"; exit $?'
            """)
        #expect(outcome.output == "137 true\n137 false\n", "\(outcome.error)")
    }

    @Test(
        "Docker: a stop reaches a program behind an init, waits for one that ignores it, and is short with one that knows nothing of it"
    )
    func dockerStop() throws {
        let outcome = try withDocker(
            """
            \(Self.stopped)
            d run -d --name init --init --runtime kata busybox sh -c 'trap "echo bye; exit 5" TERM; echo up; while :; do sleep 0.1; done' > /dev/null
            d run -d --name deaf --stop-timeout 1 --runtime kata busybox sh -c 'trap "" TERM; echo up; while :; do sleep 0.1; done' > /dev/null
            d run -d --name plain --runtime kata busybox sleep 1000 > /dev/null
            for each in init deaf; do for i in $(seq 400); do d logs $each | grep -q up && break; sleep 0.1; done; done
            for each in init deaf plain; do stopped d $each; done
            d logs init
            """)
        #expect(outcome.output == "init 5\ndeaf 137 waited\nplain 137\nup\nbye\n", "\(outcome.error)")
    }

    @Test(
        "Podman: namespaces of the host are the guest's, limits hold in it, processors are the host's; ipc modes; what no guest has is refused in our words"
    )
    func podmanOptions() throws {
        let outcome = try withPodman(
            Self.first + #"""

                was=$(hostname)
                p run -d --name opts \#(Self.namespaceOptions) busybox sleep 1000 > /dev/null
                p exec opts sh -c '\#(Self.namespaces)'; [ "$(hostname)" = "$was" ] && echo unchanged
                machine=$(cat /run/vc/vm/$(p inspect -f "{{.Id}}" opts)/qemu.pid); cat /proc/$machine/task/*/status | grep -xm 1 "Cpus_allowed_list:.0" | tr '\t' ' '; p rm -f -t 0 opts > /dev/null
                shm='stat -f -c %T /dev/shm; df -k /dev/shm | tail -1 | tr -s " " | cut -d " " -f 2; readlink /proc/self/ns/ipc > /out/ipc'
                mkdir out; p run --rm --ipc private --shm-size 8m -v $PWD/out:/out busybox sh -c "$shm"; mv out/ipc private
                p run --rm --ipc host -v $PWD/out:/out busybox sh -c "$shm" | sed -n 1p; cmp -s out/ipc private || echo apart
                p run --rm --ipc none busybox ls -d /dev/shm /dev/mqueue
                run() { p run --rm "$@"; }
                first run --sysctl vm.swappiness=11 busybox true; first run --oom-kill-disable -m 64m busybox true
                first run --memory-swappiness 10 busybox true
                truncate -s 1M disk; loop=$(losetup -f --show $PWD/disk); first run --device-read-bps $loop:1mb busybox true | sed "s/: 7:[0-9]*/: 7:N/"; losetup -d $loop
                """#)
        #expect(
            outcome.output == Self.namespaceResult("libpod_parent") + """
                unchanged
                Cpus_allowed_list: 0
                tmpfs
                8192
                tmpfs
                apart
                /dev/mqueue
                125 Error: sysctl 'vm.swappiness' is not allowed
                126 Error: ./kata: config.json: linux.resources.memory.disableOOMKiller: cgroup v2 can't switch the OOM killer off
                126 Error: ./kata: config.json: linux.resources.memory.swappiness: cgroup v2 has no swappiness of a group
                126 Error: ./kata: config.json: linux.resources.blockIO.throttleReadBpsDevice: 7:N is a disk of the host that the container doesn't have: give it with linux.devices

                """, "\(outcome.error)")
    }

    @Test(
        "Podman: disks of the host are the guest's own, with their rights and limits; a privileged one has all of its guest and nothing of its host"
    )
    func podmanDevices() throws {
        let outcome = try withPodman(
            Self.disks + #"""

                # Podman gives what the host has.
                md5sum < one; grep CapBnd /proc/self/status | tr -s '\t' ' ' | sed s/Bnd/Eff/
                p run --rm --device $one --device $two:/dev/xvdc:r --device-read-bps $one:1mb busybox sh -c '\#(Self.given("$0"))' $one
                p run --rm --privileged busybox sh -c '\#(Self.privileged)' 2> /dev/null; released
                """#)
        let facts = outcome.output.split(separator: "\n").prefix(2)
        #expect(
            outcome.output == """
                \(facts.joined(separator: "\n"))
                \(facts.first ?? "")
                not permitted
                read
                2
                rbps=1048576
                \(facts.last ?? "")
                1
                mounted
                dropped
                /dev/kmsg
                0
                0

                """, "\(outcome.error)")
    }

    @Test(
        "Podman: a program's user, words, place, names, rights and filter are as asked; a stop reaches it behind an init, and waits no longer than asked"
    )
    func podmanProgram() throws {
        let outcome = try withPodman(
            #"""
            \#(Self.stopped)
            p run --rm --user 1000:1000 -e A=b -w /tmp --hostname named --add-host a:1.2.3.4 --dns 9.9.9.9 --ulimit nofile=100:200 \
                --cap-drop ALL --cap-add NET_ADMIN --security-opt no-new-privileges busybox sh -c '
                id -u; echo $A; pwd; hostname; grep -c "1.2.3.4.*a" /etc/hosts; grep -c 9.9.9.9 /etc/resolv.conf; ulimit -Sn; ulimit -Hn
                grep -E "CapBnd|NoNew|Seccomp:" /proc/self/status | tr -s "\t" " "'
            echo '{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13}]}' > filter
            p run --rm --security-opt seccomp=$PWD/filter busybox mkdir /x 2>&1 | grep -o 'Permission denied'
            p run --rm --security-opt seccomp=unconfined busybox grep -c 'Seccomp:.0' /proc/self/status
            p run -d --name init --init --init-path $(command -v docker-init) busybox sh -c 'trap "echo bye; exit 5" TERM; echo up; while :; do sleep 0.1; done' > /dev/null
            p run -d --name deaf --stop-timeout 1 busybox sh -c 'trap "" TERM; echo up; while :; do sleep 0.1; done' > /dev/null
            for each in init deaf; do for i in $(seq 400); do p logs $each | grep -q up && break; sleep 0.1; done; done
            for each in init deaf; do stopped p $each; done
            p logs init
            """#)
        #expect(
            outcome.output == """
                1000
                b
                /tmp
                named
                1
                1
                100
                200
                CapBnd: 0000000000001000
                NoNewPrivs: 1
                Seccomp: 2
                Permission denied
                1
                init 5
                deaf 137 waited
                up
                bye

                """, "\(outcome.error)")
    }
}
