import ArgumentParser
import CommandLine

struct Events: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Prints figures of a container, one line of JSON each time, until it ends.")
    @Option(help: "Time between two lines: 500ms, 5s, 1m.") var interval = "5s"
    @Flag(help: "Print one line only.") var stats = false
    @Argument(help: "The container's id.") var id: String
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        let interval = try Interval.parse(interval)
        try GuestReports(id, in: runtime.context).printFigures(every: stats ? nil : interval)
    }
}
