import ArgumentParser
import CommandLine

/// The options of `create` and `run`.
struct BundleOptions: ParsableArguments {
    @Option(name: .shortAndLong, help: "The bundle's directory.") var bundle = "."
    @Option(help: "Socket that gets the master of the container's terminal.") var consoleSocket: String?
    @Option(help: "Path of the terminal to use; for old Docker.") var console: String?
    @Option(help: "File that gets the container's pid.") var pidFile: String?
    @Flag(help: "Accepted without effect: the guest never pivots the host's root.") var noPivot = false
    @Flag(help: "Accepted without effect: a guest has its own keyrings.") var noNewKeyring = false
    @Option(help: "Refused unless 0: no descriptor of the host reaches a guest.") var preserveFds: Int?
    @Argument(help: "The container's id.") var id: String

    func create(_ context: RuntimeContext, isForeground: Bool) throws -> CreateContainer.Created {
        try RuncOptions.check(preserved: preserveFds)
        try RuncOptions.checkListening()
        let options = CreateContainer.Options(
            id: id, bundle: bundle, consoleSocket: consoleSocket, console: console, pidFile: pidFile,
            isForeground: isForeground)
        return try CreateContainer(options, in: context).run()
    }
}

struct Create: ChangingCommand {
    static let configuration = CommandConfiguration(
        abstract: "Boots a VM and creates a container in it; start runs its program.")
    @OptionGroup var options: BundleOptions
    @ParentCommand var runtime: KataRuntime

    func run() throws { _ = try options.create(runtime.context, isForeground: false) }
}
