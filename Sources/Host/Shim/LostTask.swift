import Cleanup
import Glibc
import LinuxKernel
import ShimAPI
import TTRPC

/// A task that containerd has lost: what `delete` in its bundle removes.
///
/// containerd runs `delete` in three cases (core/runtime/v2, `cleanupAfterDeadShim`), and does not say which it is:
///
/// - A task's connection to the shim has ended because the shim has. Each task of a pod may have a connection.
/// - containerd has ended it, after a deletion of the task through the shim. The shim may serve the pod's other
///   containers, also after the deletion of the pod's own.
/// - containerd, at its start, could not connect to the shim of a task, or had no answer from it for five seconds. It
///   knows the task no more then, and removes its bundle. The shim may live.
///
/// So it is the shim that tells what there is to do:
///
/// - A shim that answers loses this container, if it still has it, and no other. It ends with its last container. A
///   sandbox that CreateSandbox has made ends with its own bundle, as ShutdownSandbox can't come any more.
/// - Of a shim that has ended, or does not answer for long, the whole sandbox is removed, the shim first. Which of the
///   pod's bundles it is makes no difference: the pod's own may have been deleted before.
///
/// A busy host may take long for an answer, and containerd does not wait for this. A shim that was stopped by a signal
/// is not asked. Where the shim can't be asked for another reason, nothing is removed.
struct LostTask {
    let container: String
    /// The container's sandbox.
    let paths: SandboxPaths
    /// Path of the shim's socket.
    let socket: String
    /// The time that the shim has to answer.
    var limit = Deadline.lostShim.limit

    /// Whether a sandbox is there, alive or not.
    var hasSandbox: Bool { Files.exists(paths.machine) }

    /// Removes what there is to remove. Takes as long as the guest does; the sandbox's end may run hooks.
    func remove() {
        switch askShim() {
        case .answers(let shim, let hasContainer): remove(by: shim, hasContainer)
        case .isDead: endSandbox()
        case .isUnknown(let error): writeError("containerd-shim-kata-v2: \(container) is not cleaned up: \(error)")
        }
    }

    private func remove(by shim: TaskClient, _ hasContainer: Bool) {
        if !hasContainer, container == paths.sandbox, endStandalone(by: shim) { return }
        if hasContainer {
            // A step that fails may be due to a container that has ended meanwhile: the next one decides.
            try? shim.kill(container, signal: SIGKILL, all: true)
            _ = try? shim.wait(container, timeout: Deadline.shimDelete.limit)
            do { try shim.delete(container) } catch let error as RPCError where error.code == .notFound {} catch {
                if container == paths.sandbox { return endSandbox() }
                writeError("containerd-shim-kata-v2: \(container) is not deleted: \(error)")
            }
        }
        // containerd has done so itself where a pod's container is gone.
        guard hasContainer || container == paths.sandbox else { return }
        // Has no effect on a sandbox with other containers.
        do { try shim.shutdown(container, now: false, within: Deadline.shimProcess.limit) } catch let error as RPCError
            where error.code == .deadlineExceeded
        { return endSandbox() } catch {}
        if Ledger.ownerLife(paths.machine) == .ended { endSandbox() }
    }

    /// Ends a sandbox that CreateSandbox has made.
    /// - Returns: whether it is one.
    private func endStandalone(by shim: TaskClient) -> Bool {
        do {
            guard try shim.shutdownSandbox(container, within: Deadline.shimProcess.limit) else { return false }
        } catch let error as RPCError where error.code == .deadlineExceeded { endSandbox() } catch {
            writeError("containerd-shim-kata-v2: \(container) is not cleaned up: \(error)")
        }
        if Ledger.ownerLife(paths.machine) == .ended { endSandbox() }
        return true
    }

    private enum ShimState {
        case answers(TaskClient, hasContainer: Bool)
        case isDead
        /// This process could not ask.
        case isUnknown(any Error)
    }

    private func askShim() -> ShimState {
        guard Ledger.ownerLife(paths.machine) == .running else { return .isDead }
        let shim: TaskClient
        do { shim = try TaskClient.connect(socket, within: limit) } catch let error as SystemError
            where [ECONNREFUSED, ENOENT, EAGAIN].contains(error.code)
        { return .isDead } catch { return .isUnknown(error) }
        do {
            _ = try shim.state(container, within: limit)
            return .answers(shim, hasContainer: true)
        } catch let error as RPCError where error.code == .notFound {
            return .answers(shim, hasContainer: false)
        } catch let error as RPCError where error.code == .deadlineExceeded {
            return .isDead
        } catch {
            // The connection has ended: with the shim, or because that had too many.
            return Ledger.ownerLife(paths.machine) == .running ? .isUnknown(error) : .isDead
        }
    }

    private func endSandbox() { ShimDelete.cleanUp(paths, socket: socket) }
}
