import AgentAPI
import ArgumentParser
import Cleanup
import CommandLine
import Configuration
import Glibc
import LinuxKernel
import OCISpec
import Sandbox
import Shim

/// The OCI command line: a client of the shim.
@main
struct KataRuntime: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kata-runtime",
        abstract: "Runs containers in light virtual machines, as an OCI runtime.",
        version: Version.report,
        subcommands: [
            Create.self, Start.self, State.self, Kill.self, Delete.self, Exec.self, Pause.self, Resume.self, Run.self,
            List.self, Ps.self, Events.self, Metrics.self, Network.self, Update.self, SpecCommand.self,
            FeaturesCommand.self,
            VersionCommand.self, Check.self, Env.self, Factory.self, Attach.self,
        ])

    @OptionGroup var global: GlobalOptions
    var context: RuntimeContext { global.context }

    static func main() {
        signal(SIGPIPE, SIG_IGN)
        Ledger.registerKinds()
        let words = LeadingWords(CommandLine.arguments.dropFirst())
        if words.asksForVersion {
            print(Version.report)
            return
        }
        // Before ArgumentParser prints help: Podman asks for unknown commands to detect features.
        if let unknown = unknownCommand(words) {
            ErrorLog.shared.report(unknown + "; see kata-runtime --help")
            Glibc.exit(1)
        }
        var command: any ParsableCommand
        do { command = try parseAsRoot() } catch {
            // ArgumentParser reports --help and --version as errors with exit status 0.
            if exitCode(for: error).isSuccess { exit(withError: error) }
            ErrorLog.shared.report(message(for: error) + "; see kata-runtime --help")
            Glibc.exit(1)
        }
        let name = words.command ?? "help"
        ErrorLog.shared.debug("\(name): kata-runtime \(Version.current), pid \(getpid())")
        do {
            if let changing = command as? any ChangingCommand {
                try RootUser.check(name, directory: changing.runtime.context.root)
            }
            try raiseDescriptorLimit(atLeast: 64)
            HostRestart.clear()
            try command.run()
            ErrorLog.shared.debug("\(name): done")
        } catch {
            if error is ExitCode || exitCode(for: error).isSuccess { exit(withError: error) }
            ErrorLog.shared.report("\(error)")
            Glibc.exit(command is Exec ? Exec.failureStatus : 1)
        }
    }
}

/// A command that changes containers or the host, for which it needs root.
protocol ChangingCommand: ParsableCommand {
    var runtime: KataRuntime { get }
}

extension KataRuntime {
    /// Kata's error for an unknown command; nil for a known one.
    private static func unknownCommand(_ words: LeadingWords) -> String? {
        guard let word = words.command else { return nil }
        if ["checkpoint", "restore"].contains(word) { return Checkpoint.refusal(of: word) }
        let known = configuration.subcommands.flatMap { [$0._commandName] + $0.configuration.aliases } + ["help"]
        return known.contains(word) ? nil : "Invalid command \"\(word)\""
    }
}

/// The options before the command, as runc and Kata 1.x have them.
struct GlobalOptions: ParsableArguments {
    @Option(help: "Directory of the state of containers.") var root = "/run/kata-containers/oci"
    @Option(help: "File to append errors, warnings and debug lines to; it is made at once.") var log: String?
    @Option(name: .customLong("log-format"), help: "text or json.") var logFormat = "text"
    @Flag(name: .customLong("systemd-cgroup"), help: "Accepted without effect: the guest has no systemd.")
    var systemdCgroup = false
    @Option(name: [.customLong("kata-config"), .customLong("config")], help: "The configuration.toml to use.")
    var config: String?
    @Flag(help: "Log at debug level: to the file of --log, else to standard error.") var debug = false
    @Option(help: "Accepted without effect: true, false or auto.") var rootless: String?

    @Flag(
        name: [.customLong("kata-show-default-config-paths"), .customLong("show-default-config-paths")],
        help: "Print the search path of configuration.toml.") var showDefaultConfigPaths = false

    var context: RuntimeContext { RuntimeContext(root: root, configurationPath: config, debug: debug) }

    mutating func validate() throws {
        if showDefaultConfigPaths { throw CleanExit.message(Configuration.searchPath.joined(separator: "\n")) }
        // The shim has another working directory, and its socket's name is a hash of the root's.
        root = Files.absolute(root)
        config = config.map(Files.absolute)
        guard ["text", "json"].contains(logFormat) else { throw ValidationError("unknown log-format \"\(logFormat)\"") }
        do { try ErrorLog.shared.configure(path: log, json: logFormat == "json") } catch {
            throw ValidationError("--log: \(error)")
        }
        if debug { ErrorLog.shared.enableDebug(isAsked: true) }
    }
}

extension Version {
    /// Kata 1.x's three lines.
    static var report: String { "kata-runtime  : \(current)\n   commit   : unknown\n   OCI specs: \(Spec.version)" }
}
