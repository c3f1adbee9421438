import Cleanup
import Glibc
import LinuxKernel
import Sandbox
import ShimAPI
import SwiftProtobuf

/// `delete`: cleans up what is left of a task (`LostTask`), and reports an exit status to containerd.
package enum ShimDelete {
    /// Cleans up, then writes the answer to standard output.
    /// - Throws: `SystemError` when the answer can't be written. A failure of the cleanup is not thrown.
    package static func run(_ flags: ShimFlags) throws {
        if flags.socket.isEmpty {
            cleanUpDetached(flags)
        } else {
            signal(SIGPIPE, SIG_IGN)
            let sandbox = flags.sandbox.isEmpty ? flags.id : flags.sandbox
            LostTask(container: flags.id, paths: SandboxPaths(sandbox: sandbox), socket: flags.socket).remove()
        }
        var response = Containerd_Task_V2_DeleteResponse()
        response.exitStatus = UInt32(ProcessExit.killed.status)
        response.exitedAt = Google_Protobuf_Timestamp(timeOfDay())
        let bytes: [UInt8] = try response.serializedBytes()
        try FileDescriptor(owning: 1).writeAll(bytes, to: "standard output")
    }

    /// Cleans up in a detached process: containerd kills this one after five seconds
    /// (io.containerd.timeout.shim.cleanup).
    private static func cleanUpDetached(_ flags: ShimFlags) {
        let sandbox = (try? ShimStart.group(of: flags)) ?? flags.id
        let socket = socket(flags, sandbox)
        let task = LostTask(container: flags.id, paths: SandboxPaths(sandbox: sandbox), socket: socket)
        guard task.hasSandbox else { return removeAbandoned(socket) }
        var command = Command(
            "/proc/self/exe",
            ["-namespace", flags.namespace, "-id", flags.id, "-sandbox", sandbox, "-socket", socket, "delete"])
        command.name = "containerd-shim-kata-v2"
        command.newSession = true
        guard let helper = try? ChildWithOutput(command, output: [2]) else { return task.remove() }
        if forward(helper.output, within: Deadline.remains.limit) { _ = helper.process.wait() }
    }

    /// Copies the helper's output to standard error.
    /// - Returns: whether the output ended in time.
    private static func forward(_ output: borrowing FileDescriptor, within limit: Duration) -> Bool {
        let deadline = ContinuousClock.now + limit
        while output.isReadable(by: deadline) {
            let raw = output.raw
            // SAFETY: the calls use the buffers within their counts.
            let text = unsafe readBytes(upTo: 4096) { unsafe read(raw, $0.baseAddress, $0.count) }.bytes
            if text.isEmpty { return true }
            _ = unsafe write(2, text, text.count)
        }
        return false
    }

    /// Removes everything of a sandbox, its shim first.
    /// - Parameter socket: the shim's. Nothing is removed of a sandbox of this name whose shim had another one.
    package static func cleanUp(_ paths: SandboxPaths, socket: String) {
        let sandbox = paths.sandbox
        var due: [DueHooks] = []
        if Ledger.owns(socket: socket, paths.machine) {
            if let cause = SandboxPlan.Cgroups.helpersLackOfMemory(of: sandbox) {
                writeError("containerd-shim-kata-v2: sandbox \(sandbox) has ended: \(cause)")
            }
            Ledger.cleanUp(paths.machine) { due = DueHooks.claimAll(in: $0) }
        }
        removeAbandoned(socket)
        // Last, because hooks may take longer than the caller waits.
        for hooks in due { hooks.run { writeError("containerd-shim-kata-v2: \($0)") } }
    }

    /// Removes a socket unless a shim listens on it.
    private static func removeAbandoned(_ socket: String) {
        guard UnixSocket.isAbandoned(socket) else { return }
        // SAFETY: the call only reads the path.
        unsafe unlink(socket)
    }

    /// The path of the shim's socket. `start` wrote it into the bundle; where containerd has run no `start` for a
    /// sandbox's container, it did itself.
    private static func socket(_ flags: ShimFlags, _ sandbox: String) -> String {
        SocketAddress.path(ofAddress: (try? Files.readText("address")) ?? "")
            ?? StartParameters.keptAddress(in: ".").flatMap(SocketAddress.path(ofAddress:))
            ?? SocketAddress.path(containerd: flags.address, namespace: flags.namespace, group: sandbox)
    }
}
