import ArgumentParser
import CommandLine

struct Delete: ChangingCommand {
    static let configuration = CommandConfiguration(
        abstract: "Removes stopped containers; with --force, running ones too.")
    @Flag(name: .shortAndLong, help: "Kill running containers first; ignore unknown ids.") var force = false
    @Argument(help: "The containers' ids.") var ids: [String]
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        for id in ids {
            try ContainerState.validate(id: id)
            let removal = RemoveContainer(id, in: runtime.context)
            guard removal.exists else {
                if force { continue }
                throw RuntimeError("container \"\(id)\" does not exist")
            }
            if !force { try removal.checkStopped() }
            try removal.run()
        }
    }
}
