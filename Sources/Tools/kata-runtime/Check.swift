import ArgumentParser
import CommandLine

struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Checks whether this host can run guests, and prints the accelerator.",
        aliases: ["kata-check"])
    @Flag(help: "List what dead sandboxes have left instead; exit status 1 if there is something.") var leaks = false
    @Flag(help: "With --leaks: remove it.") var fix = false
    @ParentCommand var runtime: KataRuntime

    func validate() throws {
        if fix, !leaks { throw ValidationError("--fix needs --leaks: nothing else is repaired") }
    }

    func run() throws {
        let (lines, isSound) =
            try leaks
            ? HostCheck.leaks(root: runtime.context.root, fix: fix)
            : HostCheck.host(runtime.context.loadConfiguration())
        for line in lines { print(line) }
        guard isSound else { throw ExitCode(1) }
        if !leaks { print("System is capable of running Kata Containers") }
    }
}
