import Foundation
import Testing

extension PodTests {
    @Test("a pod whose machine is killed is not ready, with the reason in the log, and can be removed")
    func lostMachine() throws {
        let outcome = try PodTests.with(
            """
            pod=$(runp lost); id=$(run $pod a -- sleep 1000)
            kill -9 $(cat /run/vc/vm/$pod/qemu.pid); cri wait $id
            ready() { cri inspectp $pod | jq -r .status.state; }
            for i in $(seq 400); do [ $(ready) = SANDBOX_NOTREADY ] && break; sleep 0.1; done; ready
            grep 'the virtual machine ended' containerd.log | grep -o 'killed by signal 9'
            cri rmp $pod; cri ps; cri pods; left
            """)
        #expect(outcome.output == "137 Error\nSANDBOX_NOTREADY\nkilled by signal 9\n", "\(outcome.error)")
    }

    @Test("a containerd that is killed while it runs, stops or removes a pod leaves nothing that it can't remove later")
    func killed() throws {
        let outcome = try PodTests.with(
            """
            remove() { for pod in $(cri pods | cut -d' ' -f1); do cri rmp $pod; done; }
            # The network that containerd was making for a pod when it was killed stays with every runtime.
            links() { :; }
            # A pod that has no answer yet is this client's too.
            note() { for id in $(c c ls -q); do touch cri/log-$id; done; }
            # Waits longer than an unused shim.
            again() {
                kill -9 $daemon; wait $daemon 2> /dev/null; wait $call 2> /dev/null; begin; note; remove; cri pods; left 500
            }
            for delay in 0.2 0.4 0.8 1.5 2.5; do runp run$delay > /dev/null 2>&1 & call=$!; sleep $delay; again; done
            for way in stopp rmp; do for delay in 0.1 0.4; do
                pod=$(runp $way$delay); id=$(run $pod a -- sh -c 'trap "" TERM; sleep 1000')
                cri $way $pod > /dev/null 2>&1 & call=$!; sleep $delay; again
            done; done
            echo done
            """, seconds: 400)
        #expect(outcome.output == "done\n", "\(outcome.error)")
    }
}
