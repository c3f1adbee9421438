import Foundation
import Testing

/// What a container may use of its guest.
@Suite(
    "limits with real guests", .serialized, .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"),
    .timeLimit(.minutes(10)))
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
        let weight = Lab.hasOwnKernel ? "1\n" : "default 4950\n0\n"
        #expect(
            outcome.output == "4194304\n20\n16777216\n10000\n0\n7\n0\n" + weight + "1\n1\n1\n1\n",
            "\(outcome.output) \(outcome.error)")
        let lines = outcome.error.split(separator: "\n")
        // Ours has no controllers of RDMA and of weights; Debian's has, but no such device.
        let lacking = " (the guest's kernel lacks its controller)"
        let words =
            (Lab.hasOwnKernel
                ? ["set io.weight" + lacking, "set rdma.max" + lacking] : [#"set rdma.max to "mlx5_1 hca_handle=3""#])
            + ["set hugetlb.64KB.max" + lacking, "set memory.nonsense" + lacking, #"set memory.max to "much""#]
        #expect(lines.count == words.count, "\(outcome.error)")
        for (line, words) in zip(lines, words) { #expect(line.contains(words), "\(line)") }
        #expect(try lab.leftovers("t-control") == "")
    }
}
