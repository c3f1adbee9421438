import Glibc
import LinuxKernel
import Testing

@testable import CommandLine

@Suite("Terminals of the command line")
struct TerminalTests {
    private let own = "/proc/\(getpid())/fd/"

    @Test("a terminal in the foreground has the caller's input and output, and plain newlines in a pipe")
    func foreground() throws {
        let terminal = try PseudoTerminal()
        let pipe = try Pipe()
        for (output, isPlain) in [(terminal.slave.raw, false), (pipe.writeEnd.raw, true)] {
            let paths = try CallerStreams.paths(
                terminal: true, consoleSocket: nil, console: nil, isForeground: true, output: output)
            #expect(paths.stdin == own + "0" && paths.stdout == own + "\(output)" && paths.stderr.isEmpty)
            #expect(paths.terminal && paths.plainNewlines == isPlain)
        }
    }

    @Test("other terminals serve both directions: the one of --console, or the caller's for a detached process")
    func others() throws {
        let console = try CallerStreams.paths(
            terminal: true, consoleSocket: nil, console: "/dev/pts/9", isForeground: true)
        #expect(console == .init(stdin: "/dev/pts/9", stdout: "/dev/pts/9", terminal: true))
        let detached = try CallerStreams.paths(terminal: true, consoleSocket: nil, console: nil, isForeground: false)
        #expect(detached == .init(stdin: own + "0", stdout: own + "0", terminal: true))
        let plain = try CallerStreams.paths(terminal: false, consoleSocket: nil, console: nil, isForeground: true)
        #expect(plain == .init(stdin: own + "0", stdout: own + "1", stderr: own + "2"))
    }

    @Test("the caller's terminal is the first of its streams that is one")
    func callers() throws {
        let terminal = try PseudoTerminal()
        let pipe = try Pipe()
        #expect(Terminal.callers(among: [pipe.readEnd.raw, terminal.slave.raw]) == terminal.slave.raw)
        #expect(Terminal.callers(among: [pipe.readEnd.raw]) == -1)
    }

    @Test("a raw terminal passes keys on; it adds carriage returns only for output that is not the container's")
    func raw() throws {
        for keepsOutput in [true, false] {
            let terminal = try PseudoTerminal()
            let before = try #require(Terminal.makeRaw(terminal.slave.raw, keepsOutput: keepsOutput))
            var raw = termios()
            #expect(tcgetattr(terminal.slave.raw, &raw) == 0)
            #expect(before.c_lflag & tcflag_t(ISIG) != 0 && raw.c_lflag & tcflag_t(ISIG | ICANON | ECHO) == 0)
            #expect((raw.c_oflag & tcflag_t(OPOST) != 0) == keepsOutput)
            Terminal.restore(terminal.slave.raw, before)
            #expect(tcgetattr(terminal.slave.raw, &raw) == 0 && raw.c_lflag == before.c_lflag)
        }
    }
}
