import Cleanup
import Glibc
import LinuxKernel
import Sandbox
import Shim
import TTRPC

/// `delete`: removes a container in any state, and its sandbox unless other containers live there.
package struct RemoveContainer {
    private let id: String
    private let context: RuntimeContext

    package init(_ id: String, in context: RuntimeContext) { (self.id, self.context) = (id, context) }

    /// Whether there is anything of the container.
    package var exists: Bool { Files.exists(context.directory(of: id)) }

    /// - Throws: `RuntimeError` if the container runs.
    package func checkStopped() throws {
        if (try? context.state(id))?.creation == .running {
            throw RuntimeError("container \"\(id)\" is being created: wait, or use --force")
        }
        // If its attach process was killed, the container counts as stopped.
        guard let state = try? context.state(id).here(), let now = try? TaskClient.connect(state.address).state(id),
            now.status == .running || now.status == .paused, state.process?.life != .ended
        else { return }
        throw RuntimeError("container \"\(id)\" is running: stop it first, or use --force")
    }

    /// - Parameter sandbox: the container's, if its state is not saved yet.
    /// - Throws: `RuntimeError` for a container of another pid namespace or of a later version of this program.
    package func run(sandbox: String? = nil) throws {
        let state = try ContainerState.forRemoval(root: context.root, id: id)?.here()
        let sandbox = sandbox ?? state?.sandboxName ?? id
        // A dead, stopped or hung shim can't be asked: its ledger tells what to remove.
        let isDone = askShim(of: sandbox)
        ErrorLog.shared.debug("delete \(id): \(isDone ? "the shim has removed it" : "cleaning up without a shim")")
        if !isDone { ShimProcess.cleanUp(sandbox: sandbox, root: context.root) }
        Files.removeTree(context.directory(of: id))
        // The attach process ends with the container, if it can.
        if let process = state?.process, process.pid != getpid() {
            process.kill(after: Deadline.attachProcess.limit, within: Deadline.attachProcess.limit)
        }
    }

    /// - Returns: whether the shim has removed the container, and the VM if it was the last one.
    private func askShim(of sandbox: String) -> Bool {
        let machine = SandboxPaths(sandbox: sandbox).machine
        let isShared = ContainerState.all(root: context.root).contains { $0.id != id && $0.sandboxName == sandbox }
        guard Ledger.ownerLife(machine) == .running,
            let task = try? TaskClient.connect(ShimProcess.address(root: context.root, sandbox: sandbox))
        else { return false }
        var isDeleted = false
        for step in [
            { try task.kill(id, signal: SIGKILL, all: true) },
            // A container that is alone ends with its VM in any case.
            { if isShared { _ = try? task.wait(id, timeout: Deadline.pod.limit) } },
            {
                try task.delete(id)
                isDeleted = true
            },
            { try task.shutdown(id, now: !isShared && !isDeleted) },
        ] {
            do { try step() } catch let error as RPCError where error.code == .deadlineExceeded {
                return false
            } catch {
                // The container may not exist, or have ended: the next step decides.
            }
        }
        return isShared || !Files.exists(machine)
    }
}
