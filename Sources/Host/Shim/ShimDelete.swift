import Glibc
import Linux
import Network
import Sandbox
import ShimAPI
import SwiftProtobuf

/// `delete`: the shim is dead; ends what it left behind and tells containerd how the task ended.
package enum ShimDelete {
    package static func run(_ flags: ShimFlags) throws {
        let paths = SandboxPaths(sandbox: flags.id)
        // The number may belong to another process by now: only a machine of this name is ended. Its virtiofsd ends with it.
        if let pid = (try? Files.readText(paths.machine + "/qemu.pid")).flatMap({ pid_t($0.filter(\.isNumber)) }),
            pid > 1,
            let words = try? Files.read("/proc/\(pid)/cmdline").split(separator: 0),
            words.contains(where: { $0.elementsEqual("sandbox-\(flags.id)".utf8) })
        {
            kill(pid, SIGKILL)
        }
        NetworkLedger.undo(paths.networkLedger)
        RootFilesystem.unmount(bundle: ".")
        Mounts.detach(paths.share)
        Files.removeTree(paths.machine)
        Files.removeTree(paths.shareParent)
        unlink(socket(flags))
        var response = Containerd_Task_V2_DeleteResponse()
        response.exitStatus = 137
        response.exitedAt = Google_Protobuf_Timestamp(timeOfDay())
        let bytes: [UInt8] = try response.serializedBytes()
        _ = bytes.withUnsafeBytes { write(1, $0.baseAddress, $0.count) }
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
