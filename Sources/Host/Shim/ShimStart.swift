import CLinux
import Cleanup
import Glibc
import LinuxKernel
import OCISpec
import Sandbox

/// `start`: makes the socket, leaves a serving process behind, prints the socket's address.
package enum ShimStart {
    /// - Returns: what goes to standard output.
    package static func run(_ flags: ShimFlags) throws -> [UInt8] {
        // Here somebody hears of it.
        try raiseDescriptorLimit(atLeast: ShimServer.descriptors)
        try tryThreads(ShimServer.threads)
        let parameters = try StartParameters(StartParameters.readInput(), flags: flags)
        let group = try group(of: flags)
        let address = SocketAddress.path(
            in: parameters.socketDirectory, containerd: flags.address, namespace: flags.namespace, group: group)
        if (try? UnixSocket.connect(address).raw) != nil {
            guard group != flags.id else { throw UsageError("a shim of \(group) serves \(address) already") }
            try Files.replace("address", "unix://" + address)
            return parameters.answer(path: address)
        }
        HostRestart.clear()
        if !flags.boots, takeCached(flags, group, parameters, address) { return parameters.answer(path: address) }
        var due: [DueHooks] = []
        let ledger = try Ledger.begin(in: SandboxPaths(sandbox: group).machine) { due = DueHooks.claimAll(in: $0) }
        do {
            let log = try ShimServer.openLog(in: ".")
            // Of a dead sandbox of this name: before anything is made that they would take for its.
            for hooks in due { hooks.run { try? log.writeAll(Array("\($0)\n".utf8), to: "log") } }
            try serve(flags, group, parameters, address, ledger, log)
        } catch {
            // Nobody will learn of this shim: it goes, and its socket.
            ledger.end()
            throw error
        }
        return parameters.answer(path: address)
    }

    /// Makes a shim that has a machine already the one that serves.
    private static func takeCached(
        _ flags: ShimFlags, _ group: String, _ parameters: StartParameters, _ address: String
    ) -> Bool {
        var wanted = flags
        (wanted.id, wanted.debug) = (group, parameters.debug)
        let configuration = ShimServer.environment(SandboxHolder.configurationVariable)
        return MachineCache.start(
            wanted, configuration: parameters.configurationPath.isEmpty ? configuration : parameters.configurationPath,
            publisher: ShimServer.environment("TTRPC_ADDRESS"), socket: address, directory: "."
        ) { warning in
            try? ShimServer.openLog(in: ".").writeAll(Array("containerd-shim-kata-v2: \(warning)\n".utf8), to: "log")
        }
    }

    /// Leaves a serving process behind.
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
        command.name = "containerd-shim-kata-v2"
        command.newSession = true
        command.descriptors = [3: listener.raw]
        command.descriptors[2] = log.raw
        let child = try ChildProcess(command) { process throws(SystemError) in try ledger.add(.owner(id: process)) }
        try Files.replace("shim.pid", "\(child.pid)")
        try Files.replace("address", "unix://" + address)
    }

    /// The containers of a pod share a shim: the group is the sandbox that the manager's annotations name.
    private static func group(of flags: ShimFlags) throws(SpecError) -> String {
        guard let spec = try? Spec.load(bundle: ".") else { return flags.id }
        return try group(of: spec) ?? flags.id
    }

    /// The sandbox that a container of a pod names as its own; nil where it is no such container.
    static func group(of spec: Spec) throws(SpecError) -> String? {
        guard PodRole(spec) == .container, let sandbox = PodRole.sandboxID(in: spec.annotations ?? [:]) else {
            return nil
        }
        do { try Identifier.check(sandbox, "sandbox id") } catch {
            throw SpecError("config.json", "annotations (io.kubernetes.cri.sandbox-id)", error.description)
        }
        return sandbox
    }
}
