import Foundation
import Testing

/// Commands from a container that has the host's /run. Processes have other pids there, or other start times.
@Suite(
    "commands from other namespaces", .serialized, .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"),
    .timeLimit(.minutes(30)))
struct NamespacesTests {
    @Test(
        "a container is left alone by commands that would need its processes, and steered by those that ask its shim",
        arguments: [
            "unshare --pid --fork --kill-child --mount-proc", "unshare --time --boottime 1000 --fork --kill-child",
        ])
    func elsewhere(there: String) throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("trap 'echo heard; exit 3' USR1; echo ready; while :; do sleep 0.1; done")
        let outcome = try lab.sh(
            """
            k() { \(lab.kata) "$@"; }
            there() { \(there) \(lab.kata) "$@" 2> words; status=$?; sed 's/.*"\\(container .* there\\)".*/\\1/' words; echo $status; }
            k run -d -b bundle t-elsewhere > out < /dev/null
            for i in $(seq 400); do grep -q ready out && break; sleep 0.1; done
            there exec t-elsewhere true < /dev/null; there delete t-elsewhere; there delete --force t-elsewhere; there check --leaks --fix | grep -e t-elsewhere -e '^0$'
            there state t-elsewhere | jq -r .status; k exec t-elsewhere echo lives < /dev/null
            there kill t-elsewhere USR1; for i in $(seq 400); do [ "$(k state t-elsewhere | jq -r .status)" = stopped ] && break; sleep 0.1; done
            cat out; k delete t-elsewhere; echo $?
            """)
        let refusal =
            "container \"t-elsewhere\" was made in another pid or time namespace, where its processes have other numbers: run this there"
        #expect(
            outcome.output == """
                \(refusal)
                255
                \(refusal)
                1
                \(refusal)
                1
                0
                running
                lives
                0
                ready
                heard
                0

                """, "\(outcome.output) \(outcome.error)")
        #expect(try lab.leftovers("t-elsewhere") == "")
    }

    @Test("what a container that was restarted finds of its earlier life, it removes")
    func restarted() throws {
        let lab = try Lab()
        defer { lab.remove() }
        try lab.bundle("sleep 1000")
        let outcome = try lab.sh(
            """
            within() { unshare --pid --fork --kill-child --mount-proc "$@"; }
            within sh -c '\(lab.kata) run -d -b bundle t-restarted > out 2>&1 < /dev/null; echo $? > done; exec sleep 1000' & life=$!
            for i in $(seq 600); do [ -s done ] && break; sleep 0.1; done; cat done
            within \(lab.kata) delete --force t-restarted 2>&1 | grep -c 'run this there'
            kill -9 $(cat /proc/$life/task/$life/children); wait $life
            within \(lab.kata) state t-restarted | jq -r .status; within \(lab.kata) delete t-restarted; echo $?
            """)
        #expect(outcome.output == "0\n1\nstopped\n0\n", "\(outcome.output) \(outcome.error)")
        #expect(try lab.leftovers("t-restarted") == "")
    }
}
