import Foundation
import Testing

/// Pods as kubelet runs them: through the Container Runtime Interface of Debian's containerd, with a bridge of CNI.
@Suite(
    "pods through the Container Runtime Interface", .serialized,
    .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"), .timeLimit(.minutes(10)))
struct PodTests {
    /// Runs a script beside a containerd of its own, in its own network, mount and process namespaces.
    ///
    /// In the script, `cri` is the client beside this file. `runp`, `run`, `x` are its most used verbs; `left` prints
    /// what pods have left behind; `begin` and `$daemon` start and name containerd.
    static func with(_ script: String, seconds: Int = 120) throws -> Lab.Outcome {
        let lab = try Lab()
        defer { lab.remove() }
        try """
        \(prelude(lab))
        \(script)
        """.write(toFile: lab.directory + "/script", atomically: false, encoding: .utf8)
        return try lab.sh(
            "exec unshare --mount --net --pid --fork --mount-proc --propagation private --kill-child bash script",
            seconds: seconds)
    }

    private static func prelude(_ lab: Lab) -> String {
        """
        ip link set lo up; mkdir -p cni
        # Network namespaces of pods are mounted below /run/netns, where other suites have theirs.
        mkdir -p /run/netns && mount -t tmpfs tmpfs /run/netns && mount --make-shared /run/netns
        cat > cni/10-bridge.conflist <<X
        {"cniVersion": "1.0.0", "name": "tests", "plugins": [
            {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipam": {
                "type": "host-local", "dataDir": "$PWD/addresses", "ranges": [[{"subnet": "10.99.0.0/16"}]],
                "routes": [{"dst": "0.0.0.0/0"}]}}]}
        X
        cat > containerd.toml <<X
        version = 2
        root = "$PWD/root"
        state = "$PWD/run"
        [grpc]
        address = "$PWD/c.sock"
        [ttrpc]
        address = "$PWD/c.sock.ttrpc"
        [plugins."io.containerd.grpc.v1.cri"]
        sandbox_image = "tests.local/busybox:1"
        restrict_oom_score_adj = true
        stream_server_address = "127.0.0.1"
        stream_server_port = "0"
        [plugins."io.containerd.grpc.v1.cri".cni]
        bin_dir = "/usr/lib/cni"
        conf_dir = "$PWD/cni"
        [plugins."io.containerd.grpc.v1.cri".containerd]
        snapshotter = "overlayfs"
        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata]
        runtime_type = "io.containerd.kata.v2"
        pod_annotations = ["io.katacontainers.*"]
        container_annotations = ["io.katacontainers.*"]
        privileged_without_host_devices = true
        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata.options]
        ConfigPath = "\(lab.configuration)"
        [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
        runtime_type = "io.containerd.runc.v2"
        X
        export PATH=\(lab.binaries):$PATH CRI_SOCKET=$PWD/c.sock CRI_STATE=$PWD/cri CRI_CGROUP=/kata-pods-${PWD##*-}
        begin() {
            containerd -c containerd.toml >> containerd.log 2>&1 & daemon=$!
            for i in $(seq 200); do
                cri status 2> /dev/null | jq -e '[.status.conditions[].status] | all' > /dev/null && break; sleep 0.1
            done
        }
        cri() { \(Lab.source!)/Tests/VMTests/Pods/cri "$@"; }
        runp() { cri runp "$@"; }
        run() { cri run "$@"; }
        x() { cri exec "$@"; }
        c() { ctr -a c.sock -n k8s.io "$@"; }
        # Waits until a command succeeds; says what it waited for otherwise.
        eventually() { for i in $(seq 100); do "$@" > /dev/null 2>&1 && return; sleep 0.1; done; echo "never: $*"; return 1; }
        found() {
            ps -eo args | grep -E '[q]emu-system.*sandbox-|[v]irtiofsd|[c]ontainerd-shim'
            ls /run/vc/vm /run/kata-containers/shared/sandboxes 2> /dev/null | grep -E '^[0-9a-f]{64}'
            ip -o link | grep veth
            find /sys/fs/cgroup -mindepth 2 -type d \\( -path "*$CRI_CGROUP/*" -o -name 'kata_*' \\) 2> /dev/null
        }
        found | sort > before
        # What pods have left, after a while.
        left() {
            for i in $(seq ${1-50}); do [ -z "$(found | sort | comm -23 - before)" ] && return; sleep 0.1; done
            found | sort | comm -23 - before
        }
        clean() {
            for pod in $(cri pods | cut -d' ' -f1); do cri rmp $pod; done > /dev/null 2>&1
            kill $daemon; wait $daemon
            for group in $(find /sys/fs/cgroup -depth -type d -path "*$CRI_CGROUP*"); do rmdir $group; done 2> /dev/null
        }
        trap clean EXIT
        # The image: busybox, which as a pod's first process reaps what is left to it.
        cat > rootfs/pause <<'X'
        #!/bin/sh
        trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done
        X
        chmod +x rootfs/pause; mkdir image; tar -C rootfs -cf image/layer.tar .
        digest=$(sha256sum image/layer.tar | cut -d' ' -f1)
        echo '{"architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/pause"], "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": ["sha256:'$digest'"]}}' > image/config.json
        echo '[{"Config": "config.json", "RepoTags": ["tests.local/busybox:1"], "Layers": ["layer.tar"]}]' > image/manifest.json
        tar -C image -cf image.tar manifest.json config.json layer.tar
        begin
        c images import image.tar > /dev/null || tail -3 containerd.log >&2
        """
    }

    @Test("a pod's containers start, log, are run in, and end with their status; nothing stays of the pod")
    func life() throws {
        let outcome = try PodTests.with(
            """
            pod=$(runp one); cri inspectp $pod | jq -r '.status.state, .status.network.ip' | sed 's/[0-9]*$//'
            id=$(run $pod web -- sh -c 'echo out; echo err >&2; trap "exit 7" TERM; while :; do sleep 0.1; done')
            x $id sh -c 'hostname; exit 3'; echo $?; eventually grep -q err cri/logs/one/web.log; cri logs $id | sort
            echo typed | cri stream -i $id sh -c 'read word; echo $word; exit 4'; echo $?
            cri stop $id; cri inspect $id | jq -r '.status.state, .status.exit_code'
            once=$(run $pod once -- sh -c 'exit 5'); cri wait $once; cri ps | cut -d' ' -f2- | sort
            cri rmp $pod; cri ps; cri pods; left
            """)
        #expect(
            outcome.output == """
                SANDBOX_READY
                10.99.0.
                one
                3
                err
                out
                typed
                4
                CONTAINER_EXITED
                7
                5 Error
                EXITED once
                EXITED web

                """, "\(outcome.error)")
    }
}
