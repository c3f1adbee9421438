import ArgumentParser
import CommandLine

struct Run: ChangingCommand {
    static let configuration = CommandConfiguration(
        abstract: "Creates and starts a container, and returns its exit status.")
    @OptionGroup var options: BundleOptions
    @Flag(name: .shortAndLong, help: "Return when the container runs.") var detach = false
    @Flag(help: "Accepted without effect: a container's processes are in the guest.") var noSubreaper = false
    @Flag(help: "Keep the container after its end.") var keep = false
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        let context = runtime.context
        Follower.blockSignals()
        let created = try options.create(context, isForeground: !detach)
        let removal = RemoveContainer(created.state.id, in: context)
        do {
            try created.task.start(created.state.id)
            if detach { return }
            let status = try created.follower.followInForeground()
            if !keep { try removal.run() }
            throw ExitCode(status)
        } catch let error as ExitCode { throw error } catch {
            try? removal.run()
            throw error
        }
    }
}
