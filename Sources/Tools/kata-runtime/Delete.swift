import ArgumentParser
import Glibc
import LinuxKernel
import ShimAPI

struct Delete: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Removes a stopped container; with --force, any.")
    @Flag(name: .shortAndLong, help: "Kill it first; an unknown id is no error.") var force = false
    @Argument(help: "The container's id.") var ids: [String]
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        let global = runtime.global
        for id in ids {
            try ContainerState.validate(id: id)
            guard Files.exists(ContainerState.directory(root: global.root, id: id)) else {
                if force { continue }
                throw RuntimeError("container \"\(id)\" does not exist")
            }
            // Where the process that stands for it was killed, the container is as good as stopped.
            if !force, let state = try? ContainerState.load(root: global.root, id: id).here(),
                let now = try? TaskClient.connect(state.address).state(id),
                now.status == .running || now.status == .paused, state.process?.life != .ended
            {
                throw RuntimeError("container \"\(id)\" is running: stop it first, or use --force")
            }
            try global.remove(id)
        }
    }
}
