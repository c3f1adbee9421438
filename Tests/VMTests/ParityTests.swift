import Foundation
import Testing

/// The same bundles under runc and here: a container's view of itself is the same.
@Suite(
    "a bundle that runs under runc runs here", .serialized, .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"),
    .timeLimit(.minutes(30)))
struct ParityTests {
    /// Prints the parts of the container's view that don't depend on the kernel.
    private static let probe = #"""
        grep -E '^(Uid|Gid|Groups|Umask|NoNewPrivs|Seccomp|Cap)' /proc/self/status
        grep -E 'open files|core file|Max stack' /proc/self/limits; cat /proc/self/oom_score_adj; env | sort; pwd; ls /proc/self/fd
        cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; echo; hostname; tty; ps -o pid,ppid,pgid,sid,comm | grep '^ *1 '
        awk '$5 !~ "^/(sys/fs/cgroup|sys/kernel|proc/[^sbfi]|proc/s.*g|sys/firm|dev/(null|zero|full|tty|random|urandom))" { print $5, $6 }' \
            /proc/self/mountinfo
        for name in $(ls /dev | grep -v mqueue); do stat -c '%n %A %u %g %t:%T' /dev/$name; done; readlink /dev/fd; readlink /dev/ptmx
        for path in /proc/sys/kernel/shmmax /proc/irq/x /sys/x /new /dev/new /tmp/new; do echo 2> /dev/null > $path; echo $path $?; done
        for name in pid mnt uts ipc net user cgroup; do
            [ "$(readlink /proc/self/ns/$name)" = "$(readlink /proc/1/ns/$name)" ] && echo $name
        done
        mknod /made c 1 3 2> /dev/null && echo x > /made; echo $?; cat /proc/kcore 2> /dev/null | head -c1 | wc -c; exit 77
        """#

    struct Bundle: Sendable, CustomTestStringConvertible {
        let testDescription: String
        /// A jq program that changes the config.json of `runc spec`.
        var change = "."
    }

    @Test(
        arguments: [
            Bundle(testDescription: "as runc writes it"),
            Bundle(
                testDescription: "with another user, capabilities, limits and a read-only root",
                change: """
                    .process.user = {uid: 5, gid: 6, additionalGids: [7, 8], umask: 63} | .process.cwd = "/made/here"
                    | .process.capabilities = {bounding: ["CAP_CHOWN", "CAP_KILL"], effective: ["CAP_KILL"], permitted: ["CAP_KILL"],
                        inheritable: ["CAP_KILL"], ambient: ["CAP_KILL"]} | .process.oomScoreAdj = 100
                    | .process.noNewPrivileges = false | .root.readonly = true | .hostname = "box"
                    | .process.env += ["HOME=/x", "A=b", "A=c"] | .process.rlimits += [{type: "RLIMIT_CORE", hard: 5, soft: 4}]
                    """),
            Bundle(
                testDescription: "with mounts of every kind, and the right to make devices",
                change: """
                    .process.capabilities |= with_entries(if .key == "ambient" then . else .value += ["CAP_MKNOD"] end)
                    | .mounts += [{destination: "/t1", type: "tmpfs", source: "tmpfs", options: ["size=1m", "mode=1770", "nosuid", "nodev",
                        "noexec", "relatime"]}, {destination: "/t2", type: "tmpfs", source: "x", options: ["ro", "noatime"]},
                        {destination: "/b1", type: "bind", source: "\\(env.PWD)/rootfs/bin", options: ["bind", "ro", "nosuid", "nodev",
                        "noexec"]}, {destination: "/b2/deep/file", type: "none", source: "\\(env.PWD)/rootfs/etc/passwd", options: ["rbind"]},
                        {destination: "/tmp", type: "tmpfs", source: "t", options: ["nosuid", "strictatime"]}]
                    """),
            Bundle(
                testDescription: "in a user namespace",
                change: """
                    .linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}]
                    | .linux.gidMappings = .linux.uidMappings | .process.user = {uid: 3, gid: 4} | .process.cwd = "/tmp"
                    """),
        ])
    func same(bundle: Bundle) throws {
        let lab = try Lab()
        defer { lab.remove() }
        let quoted = bundle.change.replacingOccurrences(of: "'", with: "'\\''")
        let outcome = try lab.sh(
            """
            cat > rootfs/probe <<'X' && chmod +x rootfs/probe && chmod 1777 rootfs/tmp
            #!/bin/sh
            \(Self.probe)
            X
            runc spec -b bundle && jq '.process.terminal = false | .process.args = ["/probe"] | .root = {path: "\(lab.rootfs)"} | \(quoted)' \
                bundle/config.json > c && mv c bundle/config.json
            grep -q uidMappings bundle/config.json && chown -R 100000:100000 rootfs; cp -a rootfs fresh
            runc --root runc run -b bundle t-same > runc.out 2> runc.err < /dev/null; echo "status $?" >> runc.out
            rm -rf rootfs && mv fresh rootfs
            \(lab.kata) run -b bundle t-same > kata.out 2> kata.err < /dev/null; echo "status $?" >> kata.out
            grep -c . runc.out; tail -1 runc.out; diff runc.out kata.out; cat kata.err; diff runc.err kata.err
            """)
        let lines = outcome.output.split(separator: "\n").map(String.init)
        #expect(Int(lines.first ?? "") ?? 0 > 60 && lines.dropFirst().first == "status 77", "\(outcome.output)")
        #expect(lines.count == 2, "\(outcome.output) \(outcome.error)")
        #expect(try lab.leftovers("t-same") == "")
    }
}
