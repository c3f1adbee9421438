import LinuxKernel
import Testing

@Suite(
    "many runs", .serialized, .enabled(if: Lab.obstacle == nil, "\(Lab.obstacle ?? "")"), .timeLimit(.minutes(30)))
struct SoakTests {
    @Test(
        "containers, programs in one of them, and killed sandboxes leave nothing, and the shim doesn't grow"
    )
    func short() throws {
        let outcome = try Lab.shell("KATA_SOAK=try \(Lab.source!)/scripts/soak 1 20 1")
        #expect(outcome.status == 0, "\(outcome.output) \(outcome.error)")
        #expect(outcome.output.split(separator: "\n").count == 4)
    }

    @Test("a test that leaves a process running has failed, and the process is ended")
    func strays() throws {
        let lab = try Lab()
        let outcome = try lab.sh("sleep 1000 > /dev/null & echo $!")
        withKnownIssue {
            lab.remove(patience: .zero)
        } matching: {
            "\($0)".contains("sleep 1000")
        }
        let pid = try #require(Int32(outcome.output.dropLast()))
        #expect(ProcessIdentity(pid)?.life ?? .ended == .ended)
    }
}
