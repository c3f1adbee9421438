import ArgumentParser
import Glibc
import LinuxKernel

struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Creates and starts a container; ends with its status.")
    @OptionGroup var options: BundleOptions
    @Flag(name: .shortAndLong, help: "Return once the container runs.") var detach = false
    @Flag(help: "Keep the container when it has ended.") var keep = false
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        let global = runtime.global
        Follower.blockSignals()
        let (state, task, follower) = try global.create(options, foreground: !detach)
        do {
            try task.start(state.id)
            if detach { return }
            let status = try follower.followInForeground()
            if !keep { try global.remove(state.id) }
            throw ExitCode(status)
        } catch let error as ExitCode { throw error } catch {
            try? global.remove(state.id)
            throw error
        }
    }
}
