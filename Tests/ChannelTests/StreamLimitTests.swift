import AgentAPI
import Testing
import VhostUser

@testable import Channel

@Suite("Limits on a guest's streams")
struct StreamLimitTests {
    @Test("what docs and log say of them are the device's own numbers")
    func values() {
        for limit in VsockDevice.Limit.allCases { #expect(GuestLimit(limit).value == limit.value) }
    }
}
