import Cleanup
import Configuration
import Glibc
import LinuxKernel
import Shim

/// The shim of the command line's containers: the process that containerd starts too, in the containerd namespace
/// "oci".
enum ShimProcess {
    static let namespace = "oci"

    /// Path of the socket on which a sandbox's shim serves.
    static func address(root: String, sandbox: String) -> String {
        SocketAddress.path(containerd: root, namespace: namespace, group: sandbox)
    }

    /// Path of the shim's program, which is in the directory of this one or in PATH.
    static func executable() throws(RuntimeError) -> String {
        let own = Files.real("/proc/self/exe") ?? ""
        let name = "containerd-shim-kata-v2"
        var candidates = [Files.parent(of: own) + "/" + name]
        candidates += (ShimServer.environment("PATH") ?? "").split(separator: ":").map { $0 + "/" + name }
        // SAFETY: access(2) only reads the path.
        guard let found = candidates.first(where: { unsafe access($0, X_OK) == 0 }) else {
            throw RuntimeError("\(name) is neither beside kata-runtime nor in PATH; run make install")
        }
        return found
    }

    /// Starts a shim, or takes a warm one from the VM cache.
    /// - Parameters:
    ///   - directory: the shim's working directory.
    ///   - configuration: the sandbox's, which decides whether there is a VM cache.
    /// - Returns: the path of its socket.
    static func start(
        sandbox: String, directory: String, configuration: Configuration, in context: RuntimeContext
    ) throws -> String {
        var flags = try ShimFlags(["-id", sandbox])
        (flags.namespace, flags.address, flags.debug) = (
            namespace, context.root, context.debug || configuration[Keys.runtimeDebug]
        )
        let address = address(root: context.root, sandbox: sandbox)
        // Asked here and not by the shim, so that a warning reaches the user.
        let isCached = MachineCache.start(
            flags, configuration: configuration, path: context.configurationPath, publisher: nil, socket: address,
            directory: directory
        ) { ErrorLog.shared.warn($0) }
        if isCached { return address }
        let output = try run(flags, directory: directory, configurationPath: context.configurationPath)
        guard output.status == 0, let path = SocketAddress.path(ofAddress: output.text) else {
            throw RuntimeError(output.text.split(separator: "\n").first.map(String.init) ?? "the shim did not start")
        }
        return path
    }

    /// Cleans up after a dead or hung shim.
    static func cleanUp(sandbox: String, root: String) {
        ShimDelete.cleanUp(SandboxPaths(sandbox: sandbox), socket: address(root: root, sandbox: sandbox))
    }

    private static func run(_ flags: ShimFlags, directory: String, configurationPath: String?) throws -> (
        text: String, status: Int32
    ) {
        var command = Command(
            try executable(),
            ["-namespace", flags.namespace, "-address", flags.address, "-id", flags.id, "-no-vm-cache"]
                + (flags.debug ? ["-debug"] : []) + ["start"])
        command.set("TTRPC_ADDRESS", nil)
        if let configurationPath { command.set(SandboxHolder.configurationVariable, configurationPath) }
        command.directory = directory
        let child = try ChildWithOutput(command, output: [1, 2])
        let text: [UInt8]
        do {
            text = try child.output.readAll("the shim's output", limit: 1 << 20, by: .now + Deadline.shimStart.limit)
        } catch {
            child.process.signal(SIGKILL)
            throw error
        }
        return (String(decoding: text, as: UTF8.self), child.process.wait().status)
    }
}
