import Glibc
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

    @Test("descriptors of the caller are refused by the option's or variable's name, unless there are none")
    func descriptors() throws {
        for none in [nil, 0] { try RuncOptions.check(preserved: none) }
        let preserved = #expect(throws: RuntimeError.self) { try RuncOptions.check(preserved: 2) }
        #expect(preserved?.description.hasPrefix("--preserve-fds 2: no descriptor of the host") == true)
        var environment = ["LISTEN_FDS": "1", "LISTEN_PID": "\(getpid())"]
        let passed = #expect(throws: RuntimeError.self) { try RuncOptions.checkListening { environment[$0] } }
        #expect(passed?.description.hasPrefix("LISTEN_FDS=1: no descriptor of the host") == true)
        // Those of another process, as runc sees it.
        environment["LISTEN_PID"] = "1"
        try RuncOptions.checkListening { environment[$0] }
        try RuncOptions.checkListening { _ in nil }
    }

    @Test("a cgroup for exec is refused by name, unless it is the container's own")
    func cgroups() throws {
        try RuncOptions.check(cgroups: [])
        try RuncOptions.check(cgroups: ["/", ""])
        let error = #expect(throws: RuntimeError.self) { try RuncOptions.check(cgroups: ["cpu:/a"]) }
        #expect(error?.description.hasPrefix("--cgroup \"cpu:/a\": ") == true)
    }

    @Test(
        "-v before a command asks for the version; a value or a command's own option does not",
        arguments: [
            (["-v"], true), (["--debug", "-v"], true), (["--root", "/r", "-v", "list"], true),
            (["--log", "-v", "list"], false), (["run", "-v"], false), ([], false),
        ])
    func version(arguments: [String], isAsked: Bool) {
        #expect(LeadingWords(arguments).asksForVersion == isAsked)
    }

    @Test("the command is the first word that is no option and no option's value")
    func command() {
        #expect(LeadingWords(["--root", "/r", "--debug", "exec", "-t", "c", "ps"]).command == "exec")
        #expect(LeadingWords(["--root=/r", "list"]).command == "list")
        #expect(LeadingWords(["--help"]).command == nil)
    }

    @Test("an unknown signal is refused", arguments: ["", "SIG", "-1", "65", "SIGFOO", "RTMIN+31"])
    func wrongSignals(text: String) { #expect(throws: RuntimeError.self) { try Signals.number(text) } }
}
