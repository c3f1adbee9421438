import ArgumentParser
import CommandLine

struct Start: ChangingCommand {
    static let configuration = CommandConfiguration(abstract: "Runs the program of created containers.")
    @Argument(help: "The containers' ids.") var ids: [String]
    @ParentCommand var runtime: KataRuntime

    func run() throws { for id in ids { try runtime.context.connect(to: id).start(id) } }
}

struct Kill: ChangingCommand {
    static let configuration = CommandConfiguration(abstract: "Sends a signal to a container.")
    @Flag(name: .shortAndLong, help: "Send it to all processes of the container.") var all = false
    @Argument(help: "The container's id.") var id: String
    @Argument(help: "A signal's name or number; 0: only tell whether the container runs.") var signal = "SIGTERM"
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        let number = try Signals.number(signal)
        try SignalContainer(id, in: runtime.context).send(number, all: all)
    }
}

struct Pause: ChangingCommand {
    static let configuration = CommandConfiguration(abstract: "Freezes all processes of a container.")
    @Argument(help: "The container's id.") var id: String
    @ParentCommand var runtime: KataRuntime

    func run() throws { try runtime.context.connect(to: id).pause(id) }
}

struct Resume: ChangingCommand {
    static let configuration = CommandConfiguration(abstract: "Thaws the processes of a paused container.")
    @Argument(help: "The container's id.") var id: String
    @ParentCommand var runtime: KataRuntime

    func run() throws { try runtime.context.connect(to: id).resume(id) }
}
