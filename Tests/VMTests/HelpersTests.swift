import Foundation
import Testing

/// Rights and limits of the processes that serve a guest on the host.
@Suite(
    "helpers of real guests", .serialized, .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"),
    .timeLimit(.minutes(30)))
struct HelpersTests {
    /// Runs `script` beside a container `id` that sleeps; `change` is a jq program for its config.json, `keys` are
    /// lines of [runtime].
    private func beside(_ id: String, keys: String = "", change: String = ".", _ script: String) throws -> Lab.Outcome {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("exec sleep 1000")
        let outcome = try lab.sh(
            #"""
            set -e; jq '\#(change)' bundle/config.json > c; mv c bundle/config.json
            sed -i 's/^\[runtime\]/[runtime]\n\#(keys)/' configuration.toml
            k() { \#(lab.kata) "$@"; }
            trap 'k delete --force \#(id) 2> /dev/null' EXIT
            k create -b bundle \#(id) < /dev/null > out 2>&1 || { cat out; exit 1; }
            k start \#(id)
            shim=$(pgrep -f '[-]id \#(id)( |$)'); qemu=$(cat /run/vc/vm/\#(id)/qemu.pid)
            attach=$(jq .pid state/\#(id)/state.json); virtiofsd=$(pgrep -f '[s]andboxes/\#(id)/')
            \#(script)
            """#)
        #expect(try lab.leftovers(id) == "")
        return outcome
    }

    /// Functions that read the helpers' cgroup, in either version.
    private static let groupFiles = """
        read_group() { cat /sys/fs/cgroup/$1/kata_overhead/$3/$2 2> /dev/null || cat /sys/fs/cgroup/kata_overhead/$3/$4; }
        memory() { read_group memory memory.limit_in_bytes $1 memory.max; }
        tasks() { read_group pids pids.max $1 pids.max; }
        """

    @Test("no process of a sandbox dumps core; a container's own limit is the guest's")
    func coreDumps() throws {
        let outcome = try beside(
            "t-core", change: #".process.rlimits = [{type: "RLIMIT_CORE", soft: 1073741824, hard: 1073741824}]"#,
            """
            for process in $shim $qemu $attach $virtiofsd; do
                awk '/^Max core/ {if ($5 > 1 || $6 > 1) print}' /proc/$process/limits; echo $process >> seen
            done
            [ $(wc -l < seen) -ge 5 ]
            k exec t-core grep '^Max core' /proc/self/limits | awk '{print $5, $6}'
            """)
        #expect(
            outcome.output == "1073741824 1073741824\n" && outcome.status == 0, "\(outcome.output) \(outcome.error)")
    }

    @Test("each process can have the capabilities that it works with, and no others; a hook has root's")
    func boundingSets() throws {
        let outcome = try beside(
            "t-bound",
            change:
                #".hooks.createRuntime = [{path: "/bin/sh", args: ["sh", "-c", "grep CapBnd /proc/self/status > /tmp/kata-hook-bound"]}]"#,
            """
            bound() { awk '/^CapBnd/ {print $2}' /proc/$1/status; }
            trap 'k delete --force t-bound; rm -f /tmp/kata-hook-bound' EXIT
            bound $qemu; bound $attach
            # The first one waits; the one that serves has dropped what it made its sandbox with.
            for process in $virtiofsd; do echo $((0x$(bound $process) & ~0x892401df)); done | sort -u
            own=$(bound self); [ $(bound $shim) = $own ] && grep -c $own /tmp/kata-hook-bound
            """)
        #expect(
            outcome.output == "0000000000000000\n0000000000200006\n0\n1\n", "\(outcome.output) \(outcome.error)")
    }

    @Test("the helpers' group has limits that grow with the guest's memory")
    func limits() throws {
        let outcome = try beside(
            "t-over", keys: "overhead_memory_limit = 100\\noverhead_pids_limit = 77",
            Self.groupFiles + "\n" + """
                memory t-over; tasks t-over
                k update --memory 300m t-over; memory t-over; k update --memory 100m t-over; memory t-over
                """)
        let (before, after) = ((256 + 100) << 20, (256 + 300 + 100) << 20)
        #expect(outcome.output == "\(before)\n77\n\(after)\n\(after)\n", "\(outcome.output) \(outcome.error)")
    }

    @Test("a share daemon that its group's limit ends is named with the limit's key")
    func outOfMemory() throws {
        let outcome = try beside(
            "t-helpers-oom", keys: "overhead_memory_limit = 32",
            change: #".mounts += [{destination: "/shm", type: "bind", source: "/dev/shm", options: ["rbind"]}]"#,
            """
            trap 'k delete --force t-helpers-oom; rm -f /dev/shm/kata-test-helpers-oom' EXIT
            k exec t-helpers-oom dd if=/dev/zero of=/shm/kata-test-helpers-oom bs=1M count=600 || echo $?
            k exec t-helpers-oom true 2>&1 || true
            """)
        let ends = [
            "not running: virtiofsd, which serves the guest its files, ", "not running: the virtual machine was killed",
        ]
        let cause =
            ": the cgroup /kata_overhead/t-helpers-oom reached its limit of memory (runtime.overhead_memory_limit)"
        // The kernel kills one of the daemon's processes, or the machine: they are in one cgroup.
        #expect(outcome.output.hasPrefix("137\n") && ends.contains(where: outcome.output.contains), "\(outcome)")
        #expect(outcome.output.contains(cause), "\(outcome)")
    }
}
