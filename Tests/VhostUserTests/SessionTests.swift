import TestSupport
import Testing

@Suite("Sessions of a VMM and a guest", .timeLimit(.minutes(10)))
struct SessionTests {
    @Test("a device ends every session, whatever its messages, tables, rings and packets are, and serves the next one")
    func fuzzSessions() throws {
        for input in try Fuzz.inputs("vsock device sessions", corpus: "device", rounds: 200) {
            try DeviceSession.play(input)
        }
    }
}
