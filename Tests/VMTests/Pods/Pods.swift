import Foundation
import Testing

/// Pods as kubelet runs them: through the Container Runtime Interface of Debian's containerd, with a bridge of CNI.
@Suite(
    "pods through the Container Runtime Interface", .serialized,
    .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"), .timeLimit(.minutes(30)))
struct PodTests {
    /// Runs a script beside a containerd of its own, in its own network, mount and process namespaces.
    ///
    /// What the script may call stands in pods.sh, beside this file.
    static func with(_ script: String, seconds: Int = Lab.deadline) throws -> Lab.Outcome {
        let lab = try Lab()
        defer { lab.remove() }
        try """
        . \(Lab.source!)/Tests/VMTests/Pods/pods.sh && pods \(lab.binaries) || exit 125
        \(script)
        """.write(toFile: lab.directory + "/script", atomically: false, encoding: .utf8)
        return try lab.sh(
            "exec unshare --mount --net --pid --fork --mount-proc --propagation private --kill-child bash script",
            seconds: seconds)
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
