import Foundation
import Testing

extension PodTests {
    @Test("eight pods that start at once all start, and leave nothing when they are removed at once")
    func manyPods() throws {
        let outcome = try PodTests.with(
            """
            all() { local calls=; while read -r words; do "$@" $words > /dev/null & calls="$calls $!"; done; wait $calls; }
            seq -f pod%g 8 | all runp; cri pods | grep -c ' READY'
            cri pods | cut -d' ' -f1 | all cri rmp; cri pods; left 100
            """)
        #expect(outcome.output == "8\n", "\(outcome.error)")
    }

    @Test("forty containers of a pod run side by side, with their own output, and are removed with it")
    func manyContainers() throws {
        let outcome = try PodTests.with(
            """
            pod=$(runp many)
            for i in $(seq 40); do run $pod c$i -- sh -c "echo mine is $i; exec sleep 1000" > /dev/null; done
            cri ps | wc -l; for i in $(seq 40); do eventually grep -q "mine is $i\\$" cri/logs/many/c$i.log; done
            cri rmp $pod; left
            """)
        #expect(outcome.output == "40\n", "\(outcome.error)")
    }
}
