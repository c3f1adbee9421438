import CLinux
import Cleanup
import Configuration
import Glibc
import LinuxKernel
import OCISpec
import Pod
import Sandbox

/// `start`: makes the socket, starts a serving process, and tells the manager the socket's address.
package enum ShimStart {
    /// - Parameter tell: takes the bytes for standard output. Where it fails the manager has gone, and the new shim ends.
    /// - Throws: `UsageError` for wrong input, or when a shim of this name serves already. `SystemError` without enough
    ///   descriptors or threads, or when the socket or process can't be made. `LedgerError` when a living sandbox has
    ///   the name. `SpecError` and `ConfigurationError` of the files read; errors of `tell`.
    package static func run(_ flags: ShimFlags, tell: ([UInt8]) throws -> Void) throws {
        // Checked here, where an error reaches the manager.
        try raiseDescriptorLimit(atLeast: ShimServer.descriptors)
        try tryThreads(ShimServer.threads)
        var parameters = try StartParameters(StartParameters.readInput(), flags: flags)
        let group = try group(of: flags)
        let address = SocketAddress.path(
            in: parameters.socketDirectory, containerd: flags.address, namespace: flags.namespace, group: group)
        if (try? UnixSocket.connect(address).raw) != nil {
            guard group != flags.id else { throw UsageError("a shim of \(group) serves \(address) already") }
            try Files.replace("address", SocketAddress.address(ofPath: address))
            return try tell(parameters.answer(path: address))
        }
        HostRestart.clear()
        // kata-runtime has read the configuration, and asked the VM cache. Other managers may name it in Create only: a
        // default that is missing is no error yet.
        if flags.usesCache,
            let configuration = try Configuration.loadIfPresent(configurationPath(parameters), keys: .all)
        {
            parameters.debug = parameters.debug || configuration[Keys.runtimeDebug]
            if takeCached(flags, group, parameters, configuration, address) {
                return try tell(parameters.answer(path: address))
            }
        }
        var due: [DueHooks] = []
        let ledger = try Ledger.begin(in: SandboxPaths(sandbox: group).machine) { due = DueHooks.claimAll(in: $0) }
        try withBlockingUndo { undo in
            // No process has the address of a shim whose start fails: ends it.
            undo.add { ledger.end() }
            let log = try ShimServer.openLog(in: ".")
            // Pending hooks of a dead sandbox of this name: run them before anything of the new one exists.
            for hooks in due { hooks.run { try? log.writeAll(Array("\($0)\n".utf8), to: "log") } }
            try serve(flags, group, parameters, address, ledger, log)
            try tell(parameters.answer(path: address))
        }
    }

    /// Lets a shim of the VM cache serve this sandbox.
    /// - Returns: whether there is one.
    private static func takeCached(
        _ flags: ShimFlags, _ group: String, _ parameters: StartParameters, _ configuration: Configuration,
        _ address: String
    ) -> Bool {
        var wanted = flags
        (wanted.id, wanted.debug) = (group, parameters.debug)
        return MachineCache.start(
            wanted, configuration: configuration, path: configurationPath(parameters),
            publisher: ShimServer.environment("TTRPC_ADDRESS"), socket: address, directory: "."
        ) { warning in
            try? ShimServer.openLog(in: ".").writeAll(Array("containerd-shim-kata-v2: \(warning)\n".utf8), to: "log")
        }
    }

    private static func configurationPath(_ parameters: StartParameters) -> String? {
        parameters.configurationPath.isEmpty
            ? ShimServer.environment(SandboxHolder.configurationVariable) : parameters.configurationPath
    }

    /// Starts the serving process.
    private static func serve(
        _ flags: ShimFlags, _ group: String, _ parameters: StartParameters, _ address: String, _ ledger: Ledger,
        _ log: borrowing FileDescriptor
    ) throws {
        try ledger.add(.socket(path: address))
        try Files.makeDirectory(parameters.socketDirectory)
        let listener = try UnixSocket.listen(address)
        var command = Command(
            "/proc/self/exe",
            [
                "-namespace", flags.namespace, "-address", flags.address, "-publish-binary", flags.publishBinary, "-id",
                group, "-socket", address,
            ]
                + (parameters.debug ? ["-debug"] : []))
        if !parameters.configurationPath.isEmpty {
            command.set(SandboxHolder.configurationVariable, parameters.configurationPath)
        }
        command.set(ShimServer.limitsVariable, ResourceLimits.inherited.text)
        command.name = "containerd-shim-kata-v2"
        command.newSession = true
        command.descriptors = [3: listener.raw]
        command.descriptors[2] = log.raw
        let child = try ChildProcess(command) { process throws(SystemError) in try ledger.add(.owner(id: process)) }
        try Files.replace("shim.pid", "\(child.pid)")
        try Files.replace("address", SocketAddress.address(ofPath: address))
    }

    /// The sandbox whose shim serves the container of the bundle in the working directory: the containers of a pod
    /// share one.
    static func group(of flags: ShimFlags) throws(SpecError) -> String {
        // A sandbox without a container has no config.json in its bundle. One that can't be read is an error of Create,
        // which has an RPC code for it.
        guard let spec = try? Spec.load(bundle: ".") else { return flags.id }
        let named = try SandboxMembership(annotationsOf: spec, id: flags.id)
        return named.exists ? named.sandbox : keptSandbox ?? flags.id
    }

    /// The sandbox that containerd has noted in the bundle of a container that it has created there.
    private static var keptSandbox: String? {
        (try? Files.readText("sandbox")).flatMap { (try? Identifier.check($0, "sandbox id")) == nil ? nil : $0 }
    }
}
