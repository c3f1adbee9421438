import Testing

extension PodTests {
    @Test("a hundred programs at once have their own outputs; one that exceeds its time is killed with its children")
    func execs() throws {
        let outcome = try PodTests.with(
            """
            pod=$(runp execs); id=$(run $pod a -- sleep 1000)
            one() { [ "$(c task exec --exec-id e$1 $id echo $1)" = $1 ] && echo own; }
            for i in $(seq 100); do one $i & done | grep -c own
            cri exec -t 1 $id sh -c 'sleep 777 & sleep 777' 2>&1 | grep -o 'timeout 1s exceeded'
            x $id sh -c 'ps | grep -c "[s]leep 777"'
            cri rmp $pod; left
            """)
        #expect(outcome.output == "100\ntimeout 1s exceeded\n0\n", "\(outcome.error)")
    }
}
