import ArgumentParser
import CommandLine

struct Ps: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ps", abstract: "Lists the processes of a container, with their pids in the guest.")
    @Option(name: .shortAndLong, help: "table; or json: the host's pid of the attach process, for managers.")
    var format = "table"
    @Argument(help: "The container's id.") var id: String
    @Argument(parsing: .captureForPassthrough, help: "Options of ps(1): -ef, aux or -o FIELD,FIELD…") var options:
        [String] = []
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        guard ["table", "json"].contains(format) else {
            throw RuntimeError("unknown format \"\(format)\": table or json")
        }
        let list = try ProcessList(id, in: runtime.context)
        if format == "json" { print(try list.json) } else { try list.printTable(options) }
    }
}

struct Metrics: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Prints metrics of a guest in Prometheus' format.")
    @Argument(help: "The id of a container in it.") var id: String
    @ParentCommand var runtime: KataRuntime

    func run() throws { try GuestReports(id, in: runtime.context).printMetrics() }
}
