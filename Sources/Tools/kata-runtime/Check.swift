import ArgumentParser
import Cleanup
import Configuration
import Glibc
import LinuxKernel
import Sandbox

struct Check: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Tells whether this host can run guests, and how.", aliases: ["kata-check"])
    @Flag(help: "Lists what belongs to no living sandbox instead; status 1 when there is something.") var leaks = false
    @Flag(help: "With --leaks: removes it.") var fix = false
    @ParentCommand var runtime: KataRuntime

    func validate() throws {
        if fix, !leaks { throw ValidationError("--fix needs --leaks: nothing else is repaired") }
    }

    func run() throws { if leaks { try checkLeaks() } else { try checkHost() } }

    private func checkLeaks() throws {
        guard getuid() == 0 else { throw RuntimeError("check --leaks: only root sees what sandboxes have left") }
        var left = 0
        for leak in try Ledger.leaks() {
            let isGone = fix && leak.remove()
            if !isGone { left += 1 }
            print(isGone ? "removed \(leak)" : "leaked \(leak)")
        }
        guard left == 0 else { throw ExitCode(1) }
    }

    private func checkHost() throws {
        let configuration = try Configuration.load(runtime.global.config)
        for warning in configuration.warnings { print("warning: \(warning)") }
        var sound = true
        do { _ = try configuration.openFiles() } catch {
            sound = false
            print("failed: \(error)")
        }
        let choice = SandboxPlan.Host.withoutFiles(configuration).accelerator
        print("accelerator: \(choice.accelerator.rawValue) (\(choice.reason))")
        if getuid() != 0 {
            sound = false
            print("failed: mounting containers' files needs root")
        }
        guard sound else { throw ExitCode(1) }
        print("System is capable of running Kata Containers")
    }
}
