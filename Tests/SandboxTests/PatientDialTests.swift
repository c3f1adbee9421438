import LinuxKernel
import TestSupport
import Testing

@testable import Sandbox

@Suite("The wait for a guest's agent")
struct PatientDialTests {
    private struct Timeout: Error {}

    /// Dials that fail after the time that they get.
    private final class Host {
        /// The times that the dials got.
        var times: [Duration] = []
        /// How long the machine has waited for a processor when a dial ends.
        var delays: [Duration] = []

        /// The number of the dial that succeeds.
        var answersAt = Int.max

        func dial(_ time: Duration) async throws -> Int32 {
            times.append(time)
            if times.count == answersAt { return 7 }
            try await Task.sleep(for: time)
            throw Timeout()
        }
    }

    private func patient(_ host: Host, longest: Duration = .longWait * 100) -> PatientDial {
        PatientDial(limit: .milliseconds(20), longest: longest) {
            host.delays.isEmpty ? nil : host.delays.removeFirst()
        }
    }

    @Test("goes on for the time in which the machine waited for a processor, and ends when it had its own time")
    func busy() async throws {
        let host = Host()
        host.delays = [.milliseconds(70), .milliseconds(125), .milliseconds(125)]
        await #expect(throws: Timeout.self) { try await patient(host)(host.dial) }
        #expect(host.times == [.milliseconds(20), .milliseconds(70), .milliseconds(55)])
        let answered = Host()
        answered.delays = [.milliseconds(60)]
        answered.answersAt = 2
        #expect(try await patient(answered)(answered.dial) == 7)
    }

    @Test("ends at its longest time, where nothing was lost, and with another failure")
    func ends() async throws {
        let busy = Host()
        busy.delays = [.seconds(100), .seconds(200)]
        await #expect(throws: Timeout.self) { try await patient(busy, longest: .milliseconds(600))(busy.dial) }
        #expect(busy.times.count <= 2 && busy.times.dropFirst().allSatisfy { $0 < .milliseconds(600) })
        for delays in [[], [.microseconds(100)]] as [[Duration]] {
            let idle = Host()
            idle.delays = delays
            await #expect(throws: Timeout.self) { try await patient(idle)(idle.dial) }
            #expect(idle.times.count == 1)
        }
        let gone = Host()
        gone.delays = [.seconds(100)]
        let dial = patient(gone)
        await #expect(throws: Timeout.self) { try await dial { _ in throw Timeout() } }
        #expect(gone.delays.count == 1)
    }

    @Test("a process has the longest delay of its threads")
    func delay() throws {
        #expect(ProcessorDelay.longest(of: 1) != nil)
        #expect(ProcessorDelay.longest(of: .max) == nil)
    }
}
