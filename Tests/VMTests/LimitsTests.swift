import Foundation
import Testing

/// Limits of a container in its guest.
@Suite(
    "limits with real guests", .serialized, .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"),
    .timeLimit(.minutes(30)))
struct LimitsTests {
    @Test("limits hold, and can be changed while the container runs")
    func limits() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("sleep 100")
        let outcome = try lab.sh(
            """
            jq '.linux.resources = {memory: {limit: 67108864, swap: 67108864}, pids: {limit: 30}, hugepageLimits: [{pageSize: "2MB", limit: 0}],
                unified: {"memory.high": "60000000"}}' bundle/config.json > c && mv c bundle/config.json
            k() { \(lab.kata) "$@"; }
            k create -b bundle t-limits && k start t-limits
            files='cd /sys/fs/cgroup; cat memory.max memory.swap.max pids.max memory.high cpu.max | tr "\\\\n" " "'
            k exec t-limits /bin/sh -c "$files"; echo
            k update --memory 32m --memory-swap 48m --cpu-quota 50000 --pids-limit 20 t-limits
            echo '{"unified":{"memory.high":"max"},"memory":{"swap":41943040}}' | k update -r - t-limits
            k exec t-limits /bin/sh -c "$files"; echo
            k events --stats t-limits | jq -c '[.type, .data.memory.usage.limit, .data.pids.limit]'
            k update --cpu-rt-runtime 5 t-limits; k update --memory 1x t-limits
            k delete --force t-limits
            """)
        #expect(
            outcome.output == """
                67108864 0 30 59998208 max 100000 
                33554432 8388608 20 max 50000 100000 
                ["stats",33554432,20]

                """, "\(outcome.output)")
        #expect(outcome.error.split(separator: "\n").count == 2, "\(outcome.error)")
        #expect(try lab.leftovers("t-limits") == "")
    }

    /// Runs runc in a cgroup below its own, which has no processes itself (cgroup-v2.rst, "No Internal Process
    /// Constraint").
    private static let nest = #"""
        set -e; cd /sys/fs/cgroup; mkdir self; for process in $(cat cgroup.procs); do echo $process > self/cgroup.procs || true; done 2> /dev/null
        for name in $(cat cgroup.controllers); do echo +$name > cgroup.subtree_control; done
        mkdir -p /tmp/b/rootfs/bin; cp /bin/busybox /tmp/b/rootfs/bin/; cd /tmp/b; runc spec
        sed -i 's/"terminal": true/"terminal": false/; s|"sh"|"/bin/busybox", "sleep", "1000"|; s|"linux": {|&"cgroupsPath": "/nested",|
            s|"resources": {|&"memory": {"limit": 100000000},|' config.json
        runc run -d nested > /dev/null 2>&1 < /dev/null; echo ready; sleep 1000
        """#

    @Test("every flag of update writes what runc writes, and figures have runc's names, in the same guest")
    func runc() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle(Self.nest)
        let outcome = try lab.sh(
            """
            k() { \(lab.kata) "$@"; }
            k features > features
            jq --slurpfile features features '\(Lab.privileged) | .root = {path: "\(Lab.source!)/out/systemd-rootfs", readonly: true}
                | .linux.resources.memory = {limit: 100000000} | .mounts += (["/run", "/tmp"] | map({destination: ., type: "tmpfs", source: "tmpfs"}))
                ' bundle/config.json > c && mv c bundle/config.json
            k create -b bundle t-flags > out 2>&1 < /dev/null; k start t-flags
            for i in $(seq 400); do grep -q ready out && break; sleep 0.1; done; cat out
            cat > compare <<'X'
            #!/bin/bash
            # Reads flags, a line at a time; "go" once the same were given from outside. Says when it is done with them.
            files="memory.max memory.low memory.swap.max cpu.max cpu.weight pids.max io.weight"
            cd /sys/fs/cgroup
            while read -r flags; do
                runc update $flags nested 2> /tmp/error || echo "runc refuses $flags"
                read -r go
                for file in $files; do
                    [ ! -e $file ] || [ "$(cat $file)" = "$(cat nested/$file)" ] || echo "$flags: $file: $(cat $file), runc $(cat nested/$file)"
                done
                echo done
            done
            runc events --stats nested
            X
            flags() {
                while read -r flags; do
                    echo "$flags"; k update $flags t-flags 2>> refused || echo "refuses $flags" >> refused; echo go
                    count=$((count + 1)); for i in $(seq 400); do [ $(grep -c '^done$' compared) = $count ] && break; sleep 0.1; done
                done | k exec t-flags /bin/bash -c "$(cat compare)" > compared
            }
            flags <<'X'
            --memory 64000000
            --memory 80m --memory-swap 90m
            --memory-swap -1
            --memory 70m --memory-swap 90m
            --memory -1
            --memory 96m --memory-reservation 16m
            --memory-reservation -1
            --cpu-share 512
            --cpu-share 2
            --cpu-share 262144
            --cpu-share 0
            --cpu-quota 50000
            --cpu-period 50000
            --cpu-period 200000 --cpu-quota 100000
            --cpu-quota 60000
            --cpu-quota -1
            --cpu-period 100000 --cpu-quota -1
            --pids-limit 50
            --pids-limit 0
            --pids-limit -1
            --blkio-weight 500
            --memory 64m --memory-swap 32m
            --memory 64m --memory-swap 96m
            X
            grep -v '^done$' compared | sed '$d'; cat refused
            k events --stats t-flags > ours; tail -1 compared > theirs
            names='[paths | map(strings) | join(".") | select(test("cpuset|kernelTCP|intel_rdt|raw") | not)] | unique'
            jq -n --slurpfile ours ours --slurpfile theirs theirs "(\\$theirs[0] | $names) - (\\$ours[0] | $names)"
            jq -c '.data.memory | [.usage.limit, .swap.limit, .swap.usage >= .usage.usage]' ours theirs
            k delete --force t-flags
            """)
        let refused = "--memory 64m --memory-swap 32m"
        let weight = Lab.kernelOption("CONFIG_BLK_CGROUP_IOCOST") == "y" ? "" : "--blkio-weight 500"
        let both = [weight, refused].filter { !$0.isEmpty }
        let lines = outcome.output.split(separator: "\n").map(String.init)
        #expect(lines.filter { $0.hasPrefix("runc refuses ") } == both.map { "runc refuses " + $0 })
        #expect(lines.filter { $0.hasPrefix("refuses ") } == both.map { "refuses " + $0 })
        #expect(!lines.contains { $0.hasPrefix("--") }, "\(outcome.output) \(outcome.error)")
        let figures = "[67108864,100663296,true]"
        #expect(lines.first == "ready" && lines.suffix(3) == ["[]", figures, figures], "\(outcome.output)")
        #expect(try lab.leftovers("t-flags") == "")
    }

    @Test(
        "weights, huge pages and devices of RDMA are limited where the guest's kernel can, and refused by name where it can't"
    )
    func controllers() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("cd /sys/fs/cgroup; cat $FILES")
        let outcome = try lab.sh(
            """
            mkdir c; run() {
                jq --arg files "$1" "$2 | .process.env += [\\"FILES=\\" + \\$files]" bundle/config.json > c/config.json
                \(lab.kata) run -b c t-control; echo $?
            }
            run 'hugetlb.2MB.max cpu.weight memory.low cpu.max.burst cpu.idle pids.max' '.linux.resources = {
                hugepageLimits: [{pageSize: "2MB", limit: 4194304}], cpu: {shares: 512, quota: 50000, period: 100000, burst: 10000, idle: 0},
                memory: {reservation: 16777216}, pids: {limit: 7}}'
            run io.weight '.linux.resources = {blockIO: {weight: 500}}'
            run rdma.max '.linux.resources = {rdma: {mlx5_1: {hcaHandles: 3}}}'
            run '' '.linux.resources = {hugepageLimits: [{pageSize: "64KB", limit: 65536}]}'
            run '' '.linux.resources = {unified: {"memory.nonsense": "1"}}'
            run '' '.linux.resources = {unified: {"memory.max": "much"}}'
            """)
        let hasWeights = Lab.kernelOption("CONFIG_BLK_CGROUP_IOCOST") == "y"
        let hasRDMA = Lab.kernelOption("CONFIG_CGROUP_RDMA") == "y"
        let weight = hasWeights ? "default 4950\n0\n" : "1\n"
        #expect(
            outcome.output == "4194304\n20\n16777216\n10000\n0\n7\n0\n" + weight + "1\n1\n1\n1\n",
            "\(outcome.output) \(outcome.error)")
        let lines = outcome.error.split(separator: "\n")
        // A host with an RDMA controller may still lack such a device.
        let lacking = " (the guest's kernel lacks its controller)"
        let words =
            (hasWeights ? [] : ["set io.weight" + lacking])
            + ["set rdma.max" + (hasRDMA ? #" to "mlx5_1 hca_handle=3""# : lacking)]
            + ["set hugetlb.64KB.max" + lacking, "set memory.nonsense" + lacking, #"set memory.max to "much""#]
        #expect(lines.count == words.count, "\(outcome.error)")
        for (line, words) in zip(lines, words) { #expect(line.contains(words), "\(line)") }
        #expect(try lab.leftovers("t-control") == "")
    }
}
