import Testing

@testable import CommandLine

@Suite("Values of options")
struct ParsingTests {
    @Test(
        "a size is bytes, or a number with a unit",
        arguments: [
            ("1073741824", 1 << 30), ("512m", 512 << 20), ("512MB", 512 << 20), ("2g", 2 << 30), ("-1", -1), ("0", 0),
        ])
    func sizes(text: String, bytes: Int64) throws { #expect(try ByteSize.parse(text, "--memory") == bytes) }

    @Test("a wrong size is refused with its option", arguments: ["", "m", "-2", "1.5g", "9223372036854775807k", "1x"])
    func wrongSizes(text: String) {
        let error = #expect(throws: RuntimeError.self) { try ByteSize.parse(text, "--memory") }
        #expect(error?.description.hasPrefix("--memory: ") == true)
    }

    @Test("an interval has a unit", arguments: [("500ms", 500), ("5s", 5000), ("1m", 60_000), ("0.5h", 1_800_000)])
    func intervals(text: String, milliseconds: Int) throws {
        #expect(try Interval.parse(text) == .milliseconds(milliseconds))
    }

    @Test("a wrong interval is refused", arguments: ["", "5", "0s", "-1s", "2h", "s", "1d"])
    func wrongIntervals(text: String) { #expect(throws: RuntimeError.self) { try Interval.parse(text) } }

    @Test(
        "a signal has a name, with or without SIG, or a number",
        arguments: [("SIGTERM", 15), ("kill", 9), ("1", 1), ("RTMIN+3", 37), ("SIGRTMIN", 34), ("64", 64), ("0", 0)])
    func signals(text: String, number: Int32) throws { #expect(try Signals.number(text) == number) }

    @Test("an unknown signal is refused", arguments: ["", "SIG", "-1", "65", "SIGFOO", "RTMIN+31"])
    func wrongSignals(text: String) { #expect(throws: RuntimeError.self) { try Signals.number(text) } }
}
