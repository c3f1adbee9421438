# Read by tests of pods, by Benchmarks/pods and by hand: a containerd with its Container Runtime Interface, and a client.
#   cd DIRECTORY with configuration.toml and a rootfs of busybox; exec unshare --mount --net --pid --fork --mount-proc \
#       --propagation private --kill-child bash -c '. …/pods.sh && pods BINARIES && …'
# Everything that it starts ends with that process. Then: cri (see its help), runp, run, x, c, eventually, begin, left.

here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
cri() { "$here/cri" "$@"; }
runp() { cri runp "$@"; }
run() { cri run "$@"; }
x() { cri exec "$@"; }
# ctr of containerd 2.x takes no relative path.
c() { ctr -a "$PWD/c.sock" -n k8s.io "$@"; }
# Waits until a command succeeds, and says what it waited for otherwise.
eventually() { for i in $(seq 300); do "$@" > /dev/null 2>&1 && return; sleep 0.1; done; echo "never: $*"; return 1; }

# Starts containerd, and waits until its pods can have networks.
begin() {
    local ready='[.status.conditions[] | select(.type | endswith("Ready")).status] | all'
    containerd -c containerd.toml >> containerd.log 2>&1 & daemon=$!
    for i in $(seq 200); do
        # Compared as a text: jq 1.6 says 0 for no input. containerd 2.x has conditions of another kind too.
        [ "$(cri status 2> /dev/null | jq "$ready")" = true ] && return; sleep 0.1
    done
    tail -3 containerd.log >&2; return 1
}

# Ids of this client's pods and containers: other suites have theirs beside them.
ours() { ls cri 2> /dev/null | sed -n 's/^\(pod\|log\)-//p'; }
links() { ip -o link | grep veth; }
found() {
    ps -eo args | grep -E '[q]emu-system.*sandbox-|[v]irtiofsd|[c]ontainerd-shim'
    links
    { ls /run/vc/vm /run/kata-containers/shared/sandboxes; find /sys/fs/cgroup -mindepth 2 -type d; } 2> /dev/null |
        grep -F -e "$CRI_CGROUP/" $(ours | sed 's/^/-e /')
}
# Prints what pods have left, after a while: a shim that no manager asks ends by itself, after thirty seconds. What was
# there before is not theirs.
left() {
    for i in $(seq ${1-400}); do [ -z "$(found | sort | comm -23 - before)" ] && return; sleep 0.1; done
    found | sort | comm -23 - before
}
clean() {
    for pod in $(cri pods | cut -d' ' -f1); do cri rmp $pod; done > /dev/null 2>&1
    kill $daemon; wait $daemon
    for group in $(find /sys/fs/cgroup -depth -type d -path "*$CRI_CGROUP*"); do rmdir $group; done 2> /dev/null
}

# An image of rootfs. As a pod's first process, busybox reaps what is left to it.
image() {
    cat > rootfs/pause <<'E'
#!/bin/sh
trap 'exit 0' TERM INT; while :; do sleep 3600 & wait $!; done
E
    chmod +x rootfs/pause; mkdir -p image; tar -C rootfs -cf image/layer.tar .
    local digest; digest=$(sha256sum image/layer.tar | cut -d' ' -f1)
    echo '{"architecture": "amd64", "os": "linux", "config": {"Entrypoint": ["/pause"], "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:'$digest'"]}}' > image/config.json
    echo '[{"Config": "config.json", "RepoTags": ["tests.local/busybox:1"], "Layers": ["layer.tar"]}]' > image/manifest.json
    tar -C image -c manifest.json config.json layer.tar | c images import - > /dev/null || tail -3 containerd.log >&2
}

# Starts it all in the working directory.
# $1: the directory of containerd-shim-kata-v2
pods() {
    export PATH=$1:$PATH CRI_SOCKET=$PWD/c.sock CRI_STATE=$PWD/cri CRI_CGROUP=/kata-pods-${PWD##*-}
    ip link set lo up
    # Network namespaces of pods are mounted below /run/netns, where other suites have theirs.
    mkdir -p cni /run/netns && mount -t tmpfs tmpfs /run/netns && mount --make-shared /run/netns
    cat > cni/10-bridge.conflist <<E
{"cniVersion": "1.0.0", "name": "tests", "plugins": [
    {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipam": {
        "type": "host-local", "dataDir": "$PWD/addresses", "ranges": [[{"subnet": "10.99.0.0/16"}]],
        "routes": [{"dst": "0.0.0.0/0"}]}}]}
E
    cat > containerd.toml <<E
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
ConfigPath = "$PWD/configuration.toml"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
E
    found | sort > before
    trap clean EXIT
    begin && image
}
