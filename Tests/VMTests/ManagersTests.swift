import Foundation
import Testing

@Suite(
    "Docker and Podman with real guests", .serialized, .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"),
    .timeLimit(.minutes(10)))
struct ManagersTests {
    /// A wrapper that managers run as their runtime, a network namespace for the manager, and an image named busybox.
    private func prelude(_ lab: Lab) -> String {
        """
        printf '#!/bin/sh\\nexec \(lab.binaries)/kata-runtime --kata-config \(lab.configuration) "$@"\\n' > kata; chmod +x kata
        ns=kata-${PWD##*-}; ip netns add $ns; ip -n $ns link set lo up
        inside() { nsenter --net=/run/netns/$ns "$@"; }
        clean() {
            awk -v p="$PWD/" 'index($2, p) == 1 {print $2}' /proc/self/mounts | sort -r | xargs -r umount -l
            ip netns del $ns
        }
        """
    }

    /// dockerd with directories, socket and network of its own.
    private func withDocker(_ script: String, seconds: Int = 120) throws -> Lab.Outcome {
        let lab = try Lab()
        defer { lab.remove() }
        return try lab.sh(
            """
            \(prelude(lab))
            cat > daemon.json <<X
            {"runtimes": {"kata": {"path": "$PWD/kata"}}, "data-root": "$PWD/data", "exec-root": "$PWD/exec",
             "hosts": ["unix://$PWD/docker.sock"], "pidfile": "$PWD/docker.pid", "storage-driver": "overlay2"}
            X
            nsenter --net=/run/netns/$ns dockerd --config-file daemon.json > dockerd.log 2>&1 & daemon=$!
            d() { docker -H unix://$PWD/docker.sock "$@"; }
            run() { d run --rm --runtime kata "$@"; }
            trap 'd ps -aq | xargs -r docker -H unix://$PWD/docker.sock rm -f > /dev/null; kill $daemon; wait $daemon; clean' EXIT
            for i in $(seq 200); do d version > /dev/null 2>&1 && break; sleep 0.1; done
            tar -C rootfs -c . | d import - busybox > /dev/null || tail -3 dockerd.log >&2
            \(script)
            """, seconds: seconds)
    }

    private func withPodman(_ script: String, seconds: Int = 120) throws -> Lab.Outcome {
        let lab = try Lab()
        defer { lab.remove() }
        return try lab.sh(
            """
            \(prelude(lab))
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
            trap 'p rm -fa -t 1 > /dev/null 2>&1; clean' EXIT
            tar -C rootfs -c . | p import - busybox > /dev/null 2>&1
            \(script)
            """, seconds: seconds)
    }

    @Test("Docker: services are found by their names on a network of their own, and by their published ports")
    func dockerNames() throws {
        let outcome = try withDocker(
            """
            d network create net > /dev/null
            run -d --name web --network net -p 18080:80 busybox sh -c 'echo page > /tmp/index.html; httpd -f -h /tmp' > /dev/null
            run --network net busybox sh -c 'wget -qO- http://web/; nslookup web 127.0.0.11 | grep -c 172'
            inside /bin/busybox wget -qO- http://127.0.0.1:18080/
            inside /bin/busybox ping -c 1 172.18.0.2 | grep -c '1 packets received'
            """)
        #expect(outcome.output == "page\n1\npage\n1\n", "\(outcome.error)")
    }

    @Test("Docker: streams, status, limits, copies, exec, pause and stop are as under any runtime")
    func dockerDay() throws {
        let outcome = try withDocker(
            """
            echo input | run -i busybox cat
            run --user 1000:1000 -e A=b -w /tmp --pids-limit 33 busybox sh -c 'id -u; echo $A; pwd; cat /sys/fs/cgroup/pids.max; exit 7'
            echo $?
            d run -d --name day --runtime kata -m 64m -v $PWD/rootfs/etc:/v:ro busybox \
                sh -c 'trap "exit 5" TERM; echo started; while :; do sleep 0.1; done' > /dev/null
            d exec day cat /sys/fs/cgroup/memory.max
            d update -m 80m --memory-swap 80m day > /dev/null; d exec day cat /sys/fs/cgroup/memory.max
            echo copied > file; d cp file day:/tmp/file; d exec day cat /tmp/file; d cp day:/tmp/file - | tar -xO
            d exec day touch /v/x 2>&1 | grep -c Read-only
            d pause day > /dev/null; d inspect -f '{{.State.Status}}' day; d unpause day > /dev/null
            d logs day; d stop -t 10 day > /dev/null; d inspect -f '{{.State.ExitCode}}' day
            d start day > /dev/null; d exec day cat /tmp/file; d rm -f day > /dev/null
            """)
        #expect(
            outcome.output
                == "input\n1000\nb\n/tmp\n33\n7\n67108864\n83886080\ncopied\ncopied\n1\npaused\nstarted\n5\ncopied\n",
            "\(outcome.error)")
    }

    @Test("Docker: what would share a network with the host or with another container is refused in Docker's own words")
    func dockerRefusals() throws {
        let outcome = try withDocker(
            """
            run --network host busybox true 2>&1 | grep -c 'host networking is not possible'
            run -d --name other busybox sleep 100 > /dev/null
            run --network container:other busybox true 2>&1 | grep -c 'that of another container'
            run --network none busybox ip link | grep -c mtu
            d rm -f other > /dev/null; ls exec/runtime-runc/moby | wc -l; ip -n $ns link | grep -c veth
            """)
        #expect(outcome.output == "1\n1\n1\n0\n0\n", "\(outcome.error)")
    }

    @Test("Podman: networks, published ports, exec, user namespaces and status; the host's network is refused")
    func podman() throws {
        let outcome = try withPodman(
            """
            p network create net > /dev/null
            p run -d --name web --network net -p 18081:80 -v $PWD/rootfs/etc:/v:z busybox \
                sh -c 'echo page > /tmp/index.html; httpd -f -h /tmp' > /dev/null
            p exec web test -e /v/passwd; echo exec $?
            echo input | p exec -i web cat
            inside /bin/busybox wget -qO- http://127.0.0.1:18081/
            p run --rm --network net busybox wget -qO- http://web/
            p run --rm --uidmap 0:100000:5000 busybox sh -c 'cat /proc/self/uid_map | tr -s " "; exit 9'; echo $?
            p run --rm --network host busybox true 2>&1 | grep -c 'host networking is not possible'
            p inspect -f '{{.State.Status}}' web; p rm -f -t 1 web > /dev/null 2>&1; p ps -aq | wc -l
            """)
        #expect(
            outcome.output == "exec 0\ninput\npage\npage\n 0 100000 5000\n9\n1\nrunning\n0\n", "\(outcome.error)")
    }
}
