import Cleanup
import Glibc
import LinuxKernel
import Sandbox
import Shim

/// `kill`: sends a signal to a container.
package struct SignalContainer {
    private let state: ContainerState
    private let context: RuntimeContext

    /// Reads the container's state.
    /// - Throws: as `ContainerState.load`.
    package init(_ id: String, in context: RuntimeContext) throws {
        state = try context.state(id)
        self.context = context
    }

    /// Sends a signal. Signal 0 only tells whether the container runs.
    /// - Parameter all: whether all processes of the container get the signal.
    /// - Throws: `RuntimeError` if the container does not run and `all` is false.
    package func send(_ signal: Int32, all: Bool) throws {
        if signal == SIGKILL, isShimStopped { return cleanUp() }
        guard let task = try connect(), let now = try? task.state(state.id), now.status != .stopped else {
            // The shim may have been stopped (SIGSTOP) during the call.
            if signal == SIGKILL, isShimStopped { return cleanUp() }
            if all { return }
            throw RuntimeError("container \"\(state.id)\" is not running")
        }
        ErrorLog.shared.debug("kill \(state.id): signal \(signal) for \(all ? "all processes" : "its first process")")
        if signal == 0 { return }
        try task.kill(state.id, signal: signal, all: all)
        // A stopped attach process could not report the container's end to its manager.
        if signal == SIGKILL, state.process?.life == .stopped {
            state.process?.kill(within: Deadline.attachProcess.limit)
        }
    }

    /// - Returns: nil if there is no shim.
    /// - Throws: `SystemError` if the shim can't be reached for another reason.
    private func connect() throws -> TaskClient? {
        do { return try TaskClient.connect(state.address) } catch let error as SystemError
            where [ECONNREFUSED, ENOENT].contains(error.code)
        { return nil }
    }

    private var isShimStopped: Bool {
        Ledger.ownerLife(SandboxPaths(sandbox: state.sandboxName).machine) == .stopped
    }

    /// A stopped shim can't pass SIGKILL on: its sandbox ends instead.
    private func cleanUp() { ShimProcess.cleanUp(sandbox: state.sandboxName, root: context.root) }
}
