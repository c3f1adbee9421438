import Foundation

/// Managers with private directories, sockets and networks, for the time of a script.
extension ManagersTests {
    /// A wrapper that managers run as their runtime, a network namespace for the manager, and an image named busybox.
    func prelude(_ lab: Lab) -> String {
        """
        printf '#!/bin/sh\\nexec \(lab.binaries)/kata-runtime --kata-config \(lab.configuration) "$@"\\n' > kata; chmod +x kata
        ns=kata-${PWD##*-}; ip netns add $ns; ip -n $ns link set lo up
        inside() { nsenter --net=/run/netns/$ns "$@"; }
        # Managers' names are numbers; other suites run beside this one. What was there before is not this test's.
        machines() { ls /run/vc/vm | grep -E '^[0-9a-f]{64}' | grep -cvxFf before; }
        pods() { pgrep -af '[s]him-kata-v2 -namespace k8s.io' | grep -oE '[0-9a-f]{64}'; }
        all() { found | grep -vxFf before | grep -vFf <(pods); }
        found() {
            pgrep -af '[s]andboxes/[0-9a-f]{64}|[s]andbox-[0-9a-f]{64}|[a]ttach .* [0-9a-f]{64}|[-]id [0-9a-f]{64}'
            ls /run/vc/vm /run/kata-containers/shared/sandboxes /run/kata-containers/oci exec/runtime-runc/moby 2> /dev/null | grep -E '^[0-9a-f]{64}'
            grep -E 'sandboxes/[0-9a-f]{64}' /proc/self/mounts; ip -n $ns -o link | grep veth
            for id in $ids; do find /sys/fs/cgroup -name "kata_$id*" -o -path "*/kata_overhead/$id*"; done
        }
        found > before
        # What is left of containers after a while; of the groups, those of the containers that were noted.
        # A shim that no manager asks ends by itself, after thirty seconds.
        left() { for i in $(seq ${1-400}); do [ -z "$(all)" ] && return; sleep 0.1; done; all; }
        note() { ids="$ids $("$1" ps -aq --no-trunc)"; }
        leaks() { $PWD/kata check --leaks | grep -F $(printf ' -e %s' $ids); }
        # Takes a terminal's part: after each text that comes, it types something, or changes the terminal's size.
        talk() { timeout 120 python3 \(Lab.source!)/Tests/VMTests/talk "$@"; }
        clean() {
            awk -v p="$PWD/" 'index($2, p) == 1 {print $2}' /proc/self/mounts | sort -r | xargs -r umount -l
            ip netns del $ns
        }
        """
    }

    /// Starts dockerd with a private directory, socket and network.
    /// - Parameter apart: in a private pid namespace, whose orphans are collected as on a host.
    func withDocker(_ script: String, seconds: Int = Lab.deadline, apart: Bool = false) throws -> Lab.Outcome {
        try run(apart: apart, seconds: seconds) { lab in
            """
            \(prelude(lab))
            cat > daemon.json <<X
            {"runtimes": {"kata": {"path": "$PWD/kata"}}, "data-root": "$PWD/data", "exec-root": "$PWD/exec",
             "hosts": ["unix://$PWD/docker.sock"], "pidfile": "$PWD/docker.pid", "storage-driver": "overlay2", "experimental": true}
            X
            begin() {
                nsenter --net=/run/netns/$ns dockerd --config-file daemon.json >> dockerd.log 2>&1 & daemon=$!
                for i in $(seq 400); do d version > /dev/null 2>&1 && break; sleep 0.1; done
            }
            d() { docker -H unix://$PWD/docker.sock "$@"; }
            run() { d run --rm --runtime kata "$@"; }
            trap 'd ps -aq | xargs -r docker -H unix://$PWD/docker.sock rm -f > /dev/null; kill $daemon; wait $daemon; clean' EXIT
            begin
            tar -C rootfs -c . | d import - busybox > /dev/null || tail -3 dockerd.log >&2
            \(script)
            """
        }
    }

    func withPodman(_ script: String, seconds: Int = Lab.deadline, apart: Bool = false) throws -> Lab.Outcome {
        try run(apart: apart, seconds: seconds) { lab in
            """
            \(prelude(lab))
            # Podman shares this directory between all its roots: names and addresses of an earlier life stay in it.
            mkdir -p /run/containers && mount -t tmpfs tmpfs /run/containers
            cat > containers.conf <<X
            [containers]
            default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
            [network]
            network_backend = "netavark"
            network_config_dir = "$PWD/networks"
            [engine]
            cgroup_manager = "cgroupfs"
            events_logger = "file"
            X
            printf '[storage]\\ndriver = "overlay"\\ngraphroot = "%s"\\nrunroot = "%s"\\n' $PWD/graph $PWD/runroot > storage.conf
            export CONTAINERS_CONF=$PWD/containers.conf CONTAINERS_STORAGE_CONF=$PWD/storage.conf
            p() { inside podman --root $PWD/graph --runroot $PWD/runroot --tmpdir $PWD/tmp --runtime $PWD/kata "$@"; }
            # Behind each container its conmon ends, and a podman that tidies up after it; any that doesn't is told of.
            helpers() { pgrep "$@" "^[^ ]*(conmon|podman) .*$PWD/"; }
            settle() { for i in $(seq 400); do helpers -f > /dev/null || return; sleep 0.1; done; helpers -af; }
            trap 'p rm -fa -t 1 > /dev/null 2>&1; settle; clean' EXIT
            tar -C rootfs -c . | p import - busybox > /dev/null 2>&1
            \(script)
            """
        }
    }

    private func run(apart: Bool, seconds: Int, _ script: (Lab) -> String) throws -> Lab.Outcome {
        let lab = try Lab()
        defer { lab.remove() }
        try script(lab).write(toFile: lab.directory + "/script", atomically: false, encoding: .utf8)
        let processes = apart ? "--pid --fork --mount-proc --kill-child" : ""
        return try lab.sh("exec unshare --mount --propagation private \(processes) bash script", seconds: seconds)
    }
}
