import Glibc
import Ledger
import Linux
import Sandbox
import ShimAPI
import SwiftProtobuf

/// `delete`: the shim is dead, or as good as that; ends what it left behind and tells containerd how the task ended.
package enum ShimDelete {
    package static func run(_ flags: ShimFlags) throws {
        takeAway(flags.id, socket: socket(flags))
        var response = Containerd_Task_V2_DeleteResponse()
        response.exitStatus = 137
        response.exitedAt = Google_Protobuf_Timestamp(timeOfDay())
        let bytes: [UInt8] = try response.serializedBytes()
        _ = bytes.withUnsafeBytes { write(1, $0.baseAddress, $0.count) }
    }

    /// - Parameter socket: where the shim listened: another manager may have a sandbox of this name.
    package static func takeAway(_ sandbox: String, socket: String) {
        let paths = SandboxPaths(sandbox: sandbox)
        var due: [DueHooks] = []
        if Ledger.owns(socket: socket, paths.machine) {
            Ledger.takeAway(paths.machine) { due = DueHooks.claimAll(in: $0) }
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
