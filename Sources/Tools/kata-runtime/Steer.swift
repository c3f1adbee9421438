import ArgumentParser
import Cleanup
import Glibc
import LinuxKernel
import Sandbox
import ShimAPI

struct Start: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Runs the program of a created container.")
    @Argument(help: "The container's id.") var ids: [String]
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        for id in ids {
            let state = try ContainerState.load(root: runtime.global.root, id: id)
            try TaskClient.connect(state.address).start(id)
        }
    }
}

struct Kill: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Sends a signal to a container.")
    @Flag(name: .shortAndLong, help: "To all its processes.") var all = false
    @Argument(help: "The container's id.") var id: String
    @Argument(help: "A signal's name or number.") var signal = "SIGTERM"
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        let number = try Signals.number(signal)
        let state = try ContainerState.load(root: runtime.global.root, id: id)
        if number == SIGKILL, isHalted(state) { return end(state) }
        var task: TaskClient?
        // Nobody there is one thing; no way to ask is another.
        do { task = try TaskClient.connect(state.address) } catch let error as SystemError
            where [ECONNREFUSED, ENOENT].contains(error.code)
        {}
        guard let task, let now = try? task.state(id), now.status != .stopped else {
            // It was stopped while it was asked.
            if number == SIGKILL, isHalted(state) { return end(state) }
            if all { return }
            throw RuntimeError("container \"\(id)\" is not running")
        }
        try task.kill(id, signal: number, all: all)
        // A stopped one would not tell its manager that the container has ended.
        if number == SIGKILL, state.process?.life == .stopped { state.process?.kill(within: Deadline.standIn.limit) }
    }

    private func isHalted(_ state: ContainerState) -> Bool {
        Ledger.ownerLife(SandboxPaths(sandbox: state.sandboxName).machine) == .stopped
    }

    /// A shim that is halted can't pass it on, and what it keeps must end.
    private func end(_ state: ContainerState) {
        ShimProcess.takeAway(sandbox: state.sandboxName, root: runtime.global.root)
    }
}

struct Pause: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Stops all processes of a container where they are.")
    @Argument(help: "The container's id.") var id: String
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        try TaskClient.connect(ContainerState.load(root: runtime.global.root, id: id).address).pause(id)
    }
}

struct Resume: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Lets the processes of a paused container go on.")
    @Argument(help: "The container's id.") var id: String
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        try TaskClient.connect(ContainerState.load(root: runtime.global.root, id: id).address).resume(id)
    }
}
