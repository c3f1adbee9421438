import Glibc
import LinuxKernel
import Shim

/// The shim of an OCI container: the same process that containerd starts, under a namespace of its own.
enum ShimProcess {
    static let namespace = "oci"

    /// Path of the socket on which a sandbox's shim serves.
    static func address(root: String, sandbox: String) -> String {
        SocketAddress.path(containerd: root, namespace: namespace, group: sandbox)
    }

    /// Beside this program, or in PATH.
    static func executable() throws -> String {
        var buffer = [CChar](repeating: 0, count: 4096)
        let length = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        let own = String(decoding: buffer.prefix(max(0, length)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let name = "containerd-shim-kata-v2"
        var candidates = [
            own.split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/") + "/" + name
        ]
        candidates += (getenv("PATH").map { String(cString: $0) } ?? "").split(separator: ":").map { $0 + "/" + name }
        guard let found = candidates.first(where: { access($0, X_OK) == 0 }) else {
            throw RuntimeError("\(name) is neither beside kata-runtime nor in PATH; run make install")
        }
        return found
    }

    /// Starts a shim and returns the path of its socket.
    static func start(sandbox: String, root: String, directory: String, configuration: String?, debug: Bool) throws
        -> String
    {
        var flags = try ShimFlags(["-id", sandbox])
        (flags.namespace, flags.address, flags.debug) = (namespace, root, debug)
        let address = address(root: root, sandbox: sandbox)
        // Here, as one who asks for its shim's words alone would not hear why there is none.
        let isCached = MachineCache.start(
            flags,
            configuration: configuration ?? getenv(SandboxHolder.configurationVariable).map { String(cString: $0) },
            publisher: nil, socket: address, directory: directory
        ) { ErrorLog.shared.warn($0) }
        if isCached { return address }
        let output = try run(
            id: sandbox, root: root, directory: directory, configuration: configuration, debug: debug)
        guard output.status == 0, output.text.hasPrefix("unix://") else {
            throw RuntimeError(output.text.split(separator: "\n").first.map(String.init) ?? "the shim did not start")
        }
        return String(output.text.dropFirst("unix://".count).prefix { $0 != "\n" })
    }

    /// Cleans up after a shim that is dead, or as good as that.
    static func takeAway(sandbox: String, root: String) {
        ShimDelete.takeAway(sandbox, socket: address(root: root, sandbox: sandbox))
    }

    private static func run(
        id: String, root: String, directory: String, configuration: String?, debug: Bool
    ) throws -> (text: String, status: Int32) {
        var command = Command(
            try executable(),
            ["-namespace", namespace, "-address", root, "-id", id, "-boot"] + (debug ? ["-debug"] : []) + ["start"])
        command.set("TTRPC_ADDRESS", nil)
        if let configuration { command.set(SandboxHolder.configurationVariable, configuration) }
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
