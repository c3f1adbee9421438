import Testing

extension ContainerdTests {
    @Test(
        "ctr: rights, filter, limits and settings are as asked, a disk of the host is the guest's own; the host's network is refused"
    )
    func options() throws {
        let outcome = try withContainerd(
            #"""
            run --rm --net-host $rootfs t-net true 2>&1 | grep -o 'host networking is not possible: [^;]*'
            run --rm --cap-add CAP_SYS_ADMIN --cap-drop CAP_CHOWN --seccomp --read-only --cpus 1.5 --memory-limit 60000128 --cwd /tmp --env A=b \
                --mount type=cgroup,src=cgroup,dst=/sys/fs/cgroup,options=ro --mount type=tmpfs,dst=/t,options=size=1m:mode=1770 $rootfs t-opts sh -c '
                grep -E "CapEff|Seccomp:" /proc/self/status | tr -s "\t" " "; touch /x 2>&1 | grep -c Read-only; cat /sys/fs/cgroup/cpu.max /sys/fs/cgroup/memory.max
                pwd; echo $A; stat -c %a /t; df -k /t | tail -1 | tr -s " " | cut -d " " -f 2' 2>&1
            for each in one two; do truncate -s 8M $each; mkfs.ext4 -q $each; done; one=$(losetup -f --show $PWD/one)
            md5sum < one; run --rm --device $one $rootfs t-given sh -c "md5sum < $one; grep -c '[hsv]d[a-z]$' /proc/partitions"
            run --rm --privileged --device $one $rootfs t-all sh -c "grep CapEff /proc/self/status | tr -s '\t' ' '; mkdir -p /m; mount -t ext4 $one /m && echo mounted
                ls /dev | grep -cE '^(sd|vd|nvme|dm-|tty[0-9])'; true < /dev/net/tun && true < /dev/fuse && echo opened
                truncate -s 1M /f; losetup /dev/loop7 /f && losetup -a | cut -d ' ' -f 1"
            grep CapBnd /proc/self/status | tr -s '\t' ' ' | sed s/Bnd/Eff/; losetup -d $one
            mkdir shared; mount --bind shared shared; mount --make-rshared shared; mkdir shared/m; echo f > file
            run -d --mount type=bind,src=$PWD/shared,dst=/p,options=rbind:rslave --mount type=bind,src=$PWD/file,dst=/dev/termination-log,options=rbind \
                --mount type=bind,src=/proc,dst=/proc,options=rbind $rootfs t-long sleep 1000
            mount -t tmpfs none shared/m; echo late > shared/m/late
            c task exec --exec-id e t-long sh -c 'cat /p/m/late /proc/1/comm; echo bye > /dev/termination-log'; cat file
            c task rm -f t-long > /dev/null 2>&1; c c rm t-long; umount -l shared/m shared
            ctr oci spec | jq --arg root $rootfs '.root.path = $root | .process.args = ["sh", "-c", "cat /proc/sys/vm/swappiness /proc/sys/net/ipv4/ip_forward; hostname; cat /proc/1/comm"]
                | .linux.sysctl = {"vm.swappiness": "11", "net.ipv4.ip_forward": "1"} | .process.oomScoreAdj = 77
                | .linux.namespaces |= map(select(.type == "network" or .type == "mount"))' > config.json
            c run --rm --runtime io.containerd.kata.v2 --config $PWD/config.json t-written
            ls /run/vc/vm | grep -cE 't-(net|opts|disk|all|long|spec)'
            """#)
        let lines = outcome.output.split(separator: "\n")
        let sum = lines.first { $0.hasSuffix("-") } ?? ""
        let all = lines.last { $0.hasPrefix("CapEff") } ?? ""
        #expect(
            outcome.output == """
                host networking is not possible: a machine has a network of its own
                CapEff: 00000000a82425fa
                Seccomp: 2
                1
                150000 100000
                59998208
                /tmp
                b
                1770
                1024
                \(sum)
                \(sum)
                1
                \(all)
                mounted
                0
                opened
                /dev/loop7:
                \(all)
                late
                sleep
                bye
                11
                1
                localhost
                cat
                0

                """, "\(outcome.error)")
    }
}
