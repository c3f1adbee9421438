import ArgumentParser
import CommandLine

struct Attach: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Waits for a container and returns its exit status; started by create and exec.",
        shouldDisplay: false)
    @Option(help: "Path of the shim's socket.") var address: String
    @Option(help: "The id of an exec; without it, follow the container's first process.") var exec = ""
    @Flag(help: "Standard input is the container's terminal.") var terminal = false
    @Argument(help: "The container's id.") var id: String

    func run() throws {
        throw ExitCode(try AttachedProcess(address: address, id: id, exec: exec, hasTerminal: terminal).run())
    }
}
