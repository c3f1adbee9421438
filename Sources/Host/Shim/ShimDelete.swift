import Cleanup
import Glibc
import LinuxKernel
import Sandbox
import ShimAPI
import SwiftProtobuf

/// `delete`: the shim is dead, or as good as that; ends what it left behind and tells containerd how the task ended.
package enum ShimDelete {
    package static func run(_ flags: ShimFlags) throws {
        if flags.socket.isEmpty {
            finish(flags, socket(flags))
        } else {
            signal(SIGPIPE, SIG_IGN)
            takeAway(flags.id, socket: flags.socket)
        }
        var response = Containerd_Task_V2_DeleteResponse()
        response.exitStatus = 137
        response.exitedAt = Google_Protobuf_Timestamp(timeOfDay())
        let bytes: [UInt8] = try response.serializedBytes()
        _ = bytes.withUnsafeBytes { write(1, $0.baseAddress, $0.count) }
    }

    /// Leaves it to a process that nobody knows: containerd kills the one it has started after five seconds
    /// (io.containerd.timeout.shim.cleanup), and what is left then nobody would take away.
    private static func finish(_ flags: ShimFlags, _ socket: String) {
        var command = Command(
            "/proc/self/exe", ["-namespace", flags.namespace, "-id", flags.id, "-socket", socket, "delete"])
        command.name = "containerd-shim-kata-v2"
        command.newSession = true
        guard Files.exists(SandboxPaths(sandbox: flags.id).machine),
            let helper = try? ChildWithOutput(command, output: [2])
        else { return takeAway(flags.id, socket: socket) }
        if handOn(helper.output, within: Deadline.remains.limit) { _ = helper.process.wait() }
    }

    /// - Returns: whether it came to its end.
    private static func handOn(_ output: borrowing FileDescriptor, within limit: Duration) -> Bool {
        let deadline = ContinuousClock.now + limit
        while (try? output.isReadable("the helper's words", by: deadline)) == true {
            let raw = output.raw
            let words = readBytes(upTo: 4096) { read(raw, $0.baseAddress, $0.count) }.bytes
            if words.isEmpty { return true }
            _ = write(2, words, words.count)
        }
        return false
    }

    /// - Parameter socket: where the shim listened: another manager may have a sandbox of this name.
    package static func takeAway(_ sandbox: String, socket: String) {
        let paths = SandboxPaths(sandbox: sandbox)
        var due: [DueHooks] = []
        if Ledger.owns(socket: socket, paths.machine) {
            if let cause = SandboxPlan.Groups.helpersLackOfMemory(of: sandbox) {
                writeError("containerd-shim-kata-v2: sandbox \(sandbox) has ended: \(cause)")
            }
            Ledger.cleanUp(paths.machine) { due = DueHooks.claimAll(in: $0) }
        }
        // A pod's containers share a shim: that of the others lives.
        if (try? UnixSocket.connect(socket).raw) == nil { unlink(socket) }
        // Last: they may take their time, and who asks may not wait for it.
        for hooks in due { hooks.run { writeError("containerd-shim-kata-v2: \($0)") } }
    }

    /// Where the shim listened: `start` wrote it into the bundle.
    private static func socket(_ flags: ShimFlags) -> String {
        let written = (try? Files.readText("address")) ?? ""
        guard written.hasPrefix("unix:///") else {
            return SocketAddress.path(containerd: flags.address, namespace: flags.namespace, group: flags.id)
        }
        return String(written.dropFirst("unix://".count).prefix { $0 != "\n" })
    }
}
