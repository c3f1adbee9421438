import Foundation
import TestSupport
import Testing

/// Filters of system calls and security modules, in the guest's kernel.
@Suite(
    "what confines a process, with real guests", .serialized,
    .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"),
    .timeLimit(.minutes(30)))
struct SecurityTests {
    @Test("system calls are filtered in the guest, for programs that join later too")
    func seccomp() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("exec 2>&1; mkdir /tmp/a; grep ^Seccomp: /proc/self/status; sleep 100")
        let outcome = try lab.sh(
            """
            jq '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", architectures: ["SCMP_ARCH_X86_64"], syscalls: [
                {names: ["mkdir", "mkdirat", "no_such_call"], action: "SCMP_ACT_ERRNO", errnoRet: 28}]}
                | .mounts += [{destination: "/tmp", type: "tmpfs", source: "tmpfs"}]' bundle/config.json > c && mv c bundle/config.json
            k() { \(lab.kata) "$@"; }
            for privileges in true false; do
                jq ".process.noNewPrivileges = $privileges" bundle/config.json > c && mv c bundle/config.json
                k create -b bundle t-seccomp > out 2>&1; k start t-seccomp
                k exec t-seccomp /bin/sh -c 'exec 2>&1; mkdir /tmp/b; grep ^Seccomp: /proc/self/status' 2>&1
                for i in $(seq 400); do grep -q Seccomp out && break; sleep 0.1; done; cat out; k delete --force t-seccomp
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
            "exec 2>&1; echo a | cat; (exit 3); echo $?; mkdir /tmp/a && ls /tmp; grep ^Seccomp: /proc/self/status; unshare -m true; echo end $?; sleep 100"
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
                for i in $(seq 400); do grep -q '^end' out && break; sleep 0.1; done
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

    @Test("a start whose report a profile forbids is an error, never a success")
    func silence() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("echo never")
        let outcome = try lab.sh(
            """
            profile() {
                jq --arg action $1 --argjson privileges $2 '.linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", syscalls: [
                    {names: ["execve", "execveat", "sendmsg"], action: $action}]} | .process.noNewPrivileges = $privileges' \
                    bundle/config.json > c && mv c bundle/config.json
            }
            profile SCMP_ACT_ERRNO true; \(lab.kata) run -b bundle t-silent; echo $?
            profile SCMP_ACT_ERRNO false; \(lab.kata) run -b bundle t-silent; echo $?
            profile SCMP_ACT_KILL_PROCESS true; \(lab.kata) run -b bundle t-silent; echo $?
            """)
        #expect(outcome.output == "1\n1\n159\n", "\(outcome.error)")
        let lines = outcome.error.split(separator: "\n")
        #expect(lines.count == 2 && lines[0].contains("execute /bin/sh: operation not permitted"), "\(outcome.error)")
        #expect(lines.last?.contains("does linux.seccomp allow what sets it up?") == true, "\(outcome.error)")
        #expect(try lab.leftovers("t-silent") == "")
    }

    @Test("a profile that the guest has loaded confines what runs under it, and any other is refused")
    func appArmor() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle(
            """
            mount -t securityfs none /sys/kernel/security && dd if=/profile of=/sys/kernel/security/apparmor/.load bs=1M 2>/dev/null
            echo loaded; sleep 100
            """)
        let outcome = try lab.sh(
            """
            cat > profile <<X
            abi <abi/3.0>,
            profile kata-test flags=(attach_disconnected) {
              file,
              capability,
              deny /etc/secret r,
            }
            X
            apparmor_parser --skip-kernel-load --skip-cache --stdout profile > rootfs/profile 2> warnings || cat warnings
            echo hidden > rootfs/etc/secret
            \(lab.kata) features > features
            jq --slurpfile features features '\(Lab.privileged)' bundle/config.json > c && mv c bundle/config.json
            k() { \(lab.kata) "$@"; }
            k create -b bundle t-profile > out 2>&1 && k start t-profile
            for i in $(seq 400); do grep -q loaded out && break; sleep 0.1; done; cat out
            k exec --apparmor kata-test t-profile /bin/sh -c 'exec 2>&1; cat /proc/self/attr/current /etc/secret; echo $?; cat /etc/passwd'
            k exec t-profile /bin/cat /etc/secret
            k exec --apparmor other t-profile /bin/true
            k delete --force t-profile
            """)
        #expect(
            outcome.output == """
                loaded
                kata-test (enforce)
                cat: can't open '/etc/secret': Permission denied
                1
                root:x:0:0:root:/root:/bin/sh
                hidden

                """, "\(outcome.output) \(outcome.error)")
        #expect(
            outcome.error
                == "apply profile (process.apparmorProfile), which must be loaded in the guest, other: no such file or directory\n"
        )
        #expect(try lab.leftovers("t-profile") == "")
    }

    @Test(
        "a manager's default profile is the guest's own: it refuses mounts and the kernel's settings; a guest without AppArmor runs without"
    )
    func defaultProfile() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle(
            """
            exec 2>&1; cat /proc/self/attr/current; mount -t tmpfs none /tmp; echo a > /proc/sys/kernel/domainname
            echo b > /proc/sysrq-trigger; echo 0 > /sys/kernel/mm/ksm/run; echo 0 > /proc/sys/kernel/shm_rmid_forced
            echo c > /tmp/c && rm /tmp/c; echo d | cat; (sleep 77 & kill $!; wait $!; echo $?) 2> /dev/null; echo end; sleep 100
            """)
        let outcome = try lab.sh(
            """
            \(lab.kata) features > features && jq --slurpfile features features '\(Lab.privileged)
                | .process.apparmorProfile = "docker-default"' bundle/config.json > c && mv c bundle/config.json
            k() { \(lab.kata) "$@"; }
            probe='cat /proc/self/attr/current; mount -t tmpfs none /tmp 2>&1'
            show() {
                k create -b bundle t-default > out 2>&1; k start t-default; k exec t-default /bin/sh -c "$probe"
                for i in $(seq 400); do grep -q '^end' out && break; sleep 0.1; done; cat out
                grep -o 'processes run without.*' /run/vc/vm/t-default/console.log | tr -d '\\r'; k delete --force t-default
            }
            show
            jq --arg probe "$probe; echo end; sleep 100" '.process.noNewPrivileges = true | .linux.namespaces += [{type: "user"}]
                | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}] | .linux.gidMappings = .linux.uidMappings
                | .linux.seccomp = {defaultAction: "SCMP_ACT_ALLOW", syscalls: [{names: ["swapon"], action: "SCMP_ACT_ERRNO"}]}
                | .process.args[2] = $probe' \
                bundle/config.json > c && mv c bundle/config.json; show
            jq '.process.args[2] = "cat /proc/self/attr/current; echo end; sleep 100" | del(.process.apparmorProfile)' \
                bundle/config.json > c && mv c bundle/config.json; show
            jq '.process.args[2] = "echo end; sleep 100" | .process.apparmorProfile = "docker-default"' \
                bundle/config.json > c && mv c bundle/config.json
            sed -i 's|^kernel_params = .*|kernel_params = "apparmor=0"|' configuration.toml; probe='echo runs'; show
            """)
        let confined = """
            kata-default (enforce)
            mount: mounting none on /tmp failed: Permission denied

            """
        #expect(
            outcome.output == confined + confined + """
                /bin/sh: can't create /proc/sys/kernel/domainname: Permission denied
                /bin/sh: can't create /proc/sysrq-trigger: Permission denied
                /bin/sh: can't create /sys/kernel/mm/ksm/run: Permission denied
                d
                143
                end

                """ + confined + confined + """
                    end
                    unconfined
                    unconfined
                    end
                    runs
                    end
                    processes run without the default AppArmor profile profile=kata-default cause=open \
                    /sys/kernel/security/apparmor/.replace: no such file or directory

                    """, "\(outcome.output) \(outcome.error)")
        #expect(try lab.leftovers("t-default") == "")
    }

    @Test(
        "a label is applied in a guest whose SELinux has a policy, which then confines; one that the policy doesn't know is refused by name",
        .enabled(if: Lab.kernelOption("CONFIG_SECURITY_SELINUX") == "y", "needs a guest's kernel with SELinux"))
    func labelled() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("cat /proc/self/attr/current; echo; sleep 100")
        let outcome = try lab.sh(
            """
            echo '\(Self.policy)' > policy.cil && secilc -o policy -f /dev/null policy.cil
            mkdir -p image/bin && cp /bin/busybox image/bin/ && mv policy image/ && cat > image/load-policy <<'X' && chmod +x image/load-policy
            #!/bin/busybox sh
            busybox() { /bin/busybox "$@"; }
            busybox mount -t sysfs sysfs /sys; busybox mount -t selinuxfs selinuxfs /sys/fs/selinux
            busybox dd if=/policy of=/sys/fs/selinux/load bs=1M
            busybox umount /sys/fs/selinux; busybox umount /sys
            exec /init
            X
            initrd=$(sed -n 's/^initrd = "\\(.*\\)"/\\1/p' configuration.toml)
            { cat $initrd; (cd image && find . | cpio -o -H newc 2> /dev/null); } > initrd
            sed -i "s|^initrd = .*|initrd = \\"$PWD/initrd\\"|; s|^disable_guest_selinux.*||; s|^\\[hypervisor.qemu\\]|&\\ndisable_guest_selinux = false|
                s|^kernel_params = .*|kernel_params = \\"security=selinux enforcing=1 rdinit=/load-policy\\"|" configuration.toml
            label() { jq --arg wanted "$1" '.process.selinuxLabel = $wanted' bundle/config.json > c && mv c bundle/config.json; }
            k() { \(lab.kata) "$@"; }
            label system_u:system_r:container_t:s0:c1; k create -b bundle t-policy > out 2>&1; k start t-policy
            show='cat /proc/self/attr/current; echo; (true); echo $?'
            k exec t-policy /bin/sh -c "$show"
            k exec --process-label system_u:system_r:single_t:s0 t-policy /bin/cat /proc/self/attr/current; echo
            k exec --process-label system_u:system_r:single_t:s0 t-policy /bin/sh -c "$show" 2>&1
            k exec --process-label system_u:system_r:other_t:s0 t-policy /bin/true; echo $?
            cat out; k delete --force t-policy
            label system_u:system_r:container_t:s9; k run -b bundle t-policy; echo $?
            """)
        #expect(
            outcome.output.replacing("\0", with: "") == """
                system_u:system_r:container_t:s0:c1
                0
                system_u:system_r:single_t:s0
                /bin/sh: can't fork: Permission denied
                255
                system_u:system_r:container_t:s0:c1
                1

                """, "\(outcome.output) \(outcome.error)")
        let refusal = "apply label (process.selinuxLabel), which the guest's policy must know, system_u:system_r:"
        #expect(
            outcome.error == "\(refusal)other_t:s0: invalid argument\n\(refusal)container_t:s9: invalid argument\n")
        #expect(try lab.leftovers("t-policy") == "")
    }

    /// Allows everything, except that single_t makes processes; permissions without a name are allowed
    /// (handleunknown).
    private static let policy = """
        (handleunknown allow) (mls true) (policycap nnp_nosuid_transition)
        (class process (fork transition dyntransition)) (classorder (process))
        (sid kernel) (sid security) (sid unlabeled) (sidorder (kernel security unlabeled))
        (sensitivity s0) (sensitivityorder (s0)) (category c0) (category c1) (categoryorder (c0 c1))
        (sensitivitycategory s0 (range c0 c1)) (level low (s0)) (level high (s0 (range c0 c1)))
        (user system_u) (role system_r) (userrole system_u system_r) (userlevel system_u low) (userrange system_u (low high))
        (type kernel_t) (type container_t) (type single_t)
        (roletype system_r kernel_t) (roletype system_r container_t) (roletype system_r single_t)
        (allow kernel_t self (process (fork transition))) (allow container_t self (process (fork)))
        (allow kernel_t container_t (process (transition))) (allow kernel_t single_t (process (transition)))
        (sidcontext kernel (system_u system_r kernel_t (low high)))
        (sidcontext security (system_u system_r kernel_t (low high)))
        (sidcontext unlabeled (system_u system_r kernel_t (low high)))
        """

    @Test("a label is refused by its name where the guest has no SELinux, or no policy")
    func seLinux() throws {
        let hasSELinux = Lab.kernelOption("CONFIG_SECURITY_SELINUX") == "y"
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("cat /proc/self/attr/current; sleep 100")
        let outcome = try lab.sh(
            """
            sed -i 's|^disable_guest_selinux.*||; s|^\\[hypervisor.qemu\\]|&\\ndisable_guest_selinux = false|' configuration.toml
            k() { \(lab.kata) "$@"; }
            jq '.process.selinuxLabel = "system_u:system_r:container_t:s0"' bundle/config.json > bundle/labelled
            k create -b bundle t-label > out 2>&1; k start t-label
            k exec --process-label system_u:system_r:one_t:s0 t-label /bin/true; echo $?
            k delete --force t-label
            sed -i 's|^kernel_params = .*|kernel_params = "security=selinux selinux=1"|' configuration.toml
            k create -b bundle t-label > out 2>&1; k start t-label
            k exec --process-label system_u:system_r:two_t:s0 t-label /bin/true; echo $?
            for i in $(seq 400); do [ -s out ] && break; sleep 0.1; done; tr -d '\\0' < out | grep -c '^kernel$'
            k delete --force t-label
            mv bundle/labelled bundle/config.json; k run -b bundle t-label; echo $?
            """)
        #expect(
            outcome.output == (hasSELinux ? "255\n255\n1\n1\n" : "255\n255\n0\n1\n"),
            "\(outcome.output) \(outcome.error)"
        )
        let lines = outcome.error.split(separator: "\n")
        #expect(lines.count == 3, "\(outcome.error)")
        for (line, words) in zip(
            lines,
            [
                "without SELinux in the guest, system_u:system_r:one_t:s0",
                "without \(hasSELinux ? "a policy" : "SELinux") in the guest, system_u:system_r:two_t:s0",
                "container_t:s0",
            ])
        { #expect(line.contains(words), "\(line)") }
        #expect(try lab.leftovers("t-label") == "")
    }
}
