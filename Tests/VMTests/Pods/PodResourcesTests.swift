import Testing

/// Limits of pods: kubelet makes a pod's cgroup on the host, with the sum of its containers' limits.
extension PodTests {
    /// `group` makes a pod's cgroup, of version 1; `pod` runs a pod in it with so many bytes for its containers.
    /// `resources` gives a container resources.
    private static let limits = #"""
        group() {
            for controller in memory cpu pids cpuset; do
                path=/sys/fs/cgroup/$controller; mkdir -p $path$CRI_CGROUP/pod1
                [ $controller != cpuset ] || for at in $path$CRI_CGROUP $path$CRI_CGROUP/pod1; do
                    for file in cpus mems; do cat $at/../cpuset.$file > $at/cpuset.$file; done; done
            done
        }
        limit() { echo $2 > /sys/fs/cgroup/${1%%.*}$CRI_CGROUP/pod1/$1; }
        pod() { runp $1 '{"linux": {"cgroup_parent": "'$CRI_CGROUP'/pod1", "resources": {"memory_limit_in_bytes": '$2'}}}'; }
        resources() { echo '{"linux": {"resources": {'"$1"'}}}'; }
        # What stays, but for the pod's cgroup, which is kubelet's.
        rest() { rmdir /sys/fs/cgroup/*$CRI_CGROUP/pod1; left; }
        group
        """#

    @Test("a pod with 64 MiB and no overhead runs; in the guest its containers are bound, and killed alone")
    func smallMemory() throws {
        let outcome = try PodTests.with(
            """
            \(Self.limits)
            limit memory.limit_in_bytes $((64 << 20)); pod=$(pod small $((64 << 20)))
            memory=$(resources '"memory_limit_in_bytes": 67108864')
            id=$(run $pod lives "$memory" -- sleep 1000); x $id cat /sys/fs/cgroup/memory.max
            dies=$(run $pod dies "$memory" -- tail /dev/zero); cri wait $dies
            cri ps | grep -c 'RUNNING lives'; x $id true && echo alive
            usage=$(cat /sys/fs/cgroup/memory$CRI_CGROUP/pod1/memory.usage_in_bytes); echo $((usage < 1 << 20))
            cri rmp $pod; rest
            """)
        #expect(outcome.output == "67108864\n137 OOMKilled\n1\nalive\n1\n", "\(outcome.error)")
    }

    @Test("a pod's quota binds its machine, but not the boot")
    func quota() throws {
        let outcome = try PodTests.with(
            """
            \(Self.limits)
            limit cpu.cfs_quota_us 5000; before=$SECONDS; pod=$(pod slow 0); echo $((SECONDS - before < 20))
            id=$(run $pod busy -- sh -c 'while :; do :; done')
            used() { cat /sys/fs/cgroup/cpuacct$CRI_CGROUP/pod1/cpuacct.usage; }
            sleep 1; first=$(used); sleep 4; second=$(used)
            # A twentieth of a processor, and it is used.
            echo $(((second - first) / 4000000)) >&2; echo $(((second - first) / 4000000 < 100)) $((second > first))
            limit cpu.cfs_quota_us -1; cri rmp $pod; rest
            """)
        #expect(outcome.output == "1\n1 1\n", "\(outcome.output) \(outcome.error)")
    }

    @Test("the machine has the processors of all containers; the pod's limit of processes holds for all of them")
    func podLimits() throws {
        let outcome = try PodTests.with(
            """
            \(Self.limits)
            limit pids.max 40; pod=$(pod sets 0)
            cpus() { cat /sys/fs/cgroup/cpuset$CRI_CGROUP/pod1/kata_$pod/cpuset.cpus; }
            cpus; a=$(run $pod a "$(resources '"cpuset_cpus": "1"')" -- sleep 1000); cpus
            b=$(run $pod b "$(resources '"cpuset_cpus": "0"')" -- sleep 1000); cpus
            cri stop $b 0; cri rm $b; cpus; cri update $a '{"cpuset_cpus": "0"}'; cpus
            x $a sh -c 'for i in $(seq 60); do sleep 100 > /dev/null 2>&1 & done' 2>&1 | grep -c fork
            x $a sh -c 'ls -d /proc/[0-9]* | wc -l' 2> /dev/null || echo full
            cri rmp $pod; rest
            """)
        #expect(outcome.output == "0-1\n1\n0-1\n1\n0\n1\nfull\n", "\(outcome.output) \(outcome.error)")
    }

    @Test("with sandbox_cgroup_only a pod runs in its limit and the overhead; with less the line says what is missing")
    func together() throws {
        let outcome = try PodTests.with(
            """
            \(Self.limits)
            sed -i 's/^\\[runtime\\]/&\\nsandbox_cgroup_only = true/' configuration.toml
            need=$(kata-runtime --kata-config configuration.toml env | sed -n 's/.*PodFixedMemory = "\\(.*\\)Mi"/\\1/p')
            limit memory.limit_in_bytes $(((64 + need - 10) << 20)); pod none $((64 << 20)) 2>&1 | grep -o 'lacks 10 MiB'
            limit memory.limit_in_bytes $(((64 + need) << 20)); pod=$(pod fits $((64 << 20)))
            id=$(run $pod a "$(resources '"memory_limit_in_bytes": 67108864')" -- sleep 1000)
            # All of what it may have, of memory and of files.
            x $id sh -c 'mkdir -p /dev/shm; dd if=/dev/zero of=/dev/shm/x bs=1M count=50 2> /dev/null; dd if=/dev/zero of=/big bs=1M count=300 2> /dev/null; cat /big > /dev/null; rm /dev/shm/x' && echo lives
            dies=$(run $pod dies "$(resources '"memory_limit_in_bytes": 67108864')" -- tail /dev/zero); cri wait $dies
            for file in max_usage_in_bytes stat; do sed 's/^/'$file' /' /sys/fs/cgroup/memory$CRI_CGROUP/pod1/memory.$file; done | grep -E 'max_usage|total_(cache|rss|shmem|mapped)' >&2
            x $id true && echo alive; cri rmp $pod; rest
            """)
        #expect(outcome.output == "lacks 10 MiB\nlives\n137 OOMKilled\nalive\n", "\(outcome.output) \(outcome.error)")
    }

    @Test("a machine that its host kills for lack of memory is reported as such")
    func hostMemory() throws {
        let outcome = try PodTests.with(
            """
            \(Self.limits)
            sed -i 's/^\\[runtime\\]/&\\nsandbox_cgroup_only = true/' configuration.toml
            pod=$(pod dies 0); id=$(run $pod a -- sleep 1000)
            # Room for 8 MiB; page cache would be more.
            limit memory.limit_in_bytes $(awk '/^total_(rss|shmem) / {n += $2} END {printf "%d", n + 8388608}' \
                /sys/fs/cgroup/memory$CRI_CGROUP/pod1/memory.stat)
            x $id tail /dev/zero > /dev/null 2>&1; cri wait $id
            x $id true 2>&1 | grep -o 'reached its limit of memory'; cri rmp $pod; rest
            """)
        #expect(outcome.output.hasPrefix("137 OOMKilled\n"), "\(outcome.output) \(outcome.error)")
    }
}
