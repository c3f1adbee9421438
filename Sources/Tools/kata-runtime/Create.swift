import ArgumentParser
import Cleanup
import Configuration
import Glibc
import LinuxKernel
import OCISpec
import Sandbox
import Shim
import ShimAPI
import TTRPC

/// What `create` and `run` share.
struct BundleOptions: ParsableArguments {
    @Option(name: .shortAndLong, help: "The bundle's directory.") var bundle = "."
    @Option(help: "Socket that gets the master of the container's terminal.") var consoleSocket: String?
    @Option(help: "Terminal to use; for old Docker.") var console: String?
    @Option(help: "File that gets the container's pid.") var pidFile: String?
    @Flag(help: "Accepted; it concerns the guest alone.") var noPivot = false
    @Flag(help: "Accepted; there are no keyrings of the host in a guest.") var noNewKeyring = false
    @Option(help: "Accepted; no descriptor of the host reaches a guest.") var preserveFds: Int?
    @Argument(help: "The container's id.") var id: String
}

extension GlobalOptions {
    /// Boots the VM and creates the container in it. Returns its state and what leads to its shim.
    func create(_ options: BundleOptions, foreground: Bool) throws -> (ContainerState, TaskClient, Follower) {
        try ContainerState.validate(id: options.id)
        guard let path = realpath(options.bundle, nil) else {
            throw SystemError("use bundle", options.bundle, errno: errno)
        }
        let bundle = String(cString: path)
        free(path)
        let spec = try Spec.load(bundle: bundle)
        guard let process = spec.process else { throw SpecError(bundle + "/config.json", "process", "missing") }
        for warning in process.warnings(at: "process.") { ErrorLog.shared.warn("\(bundle)/config.json: \(warning)") }
        let terminal = process.terminal ?? false
        if terminal, options.consoleSocket == nil, options.console == nil, !foreground || isatty(0) == 0 {
            throw RuntimeError(
                "process.terminal is true: give --console-socket, or run in the foreground of a terminal")
        }
        if !terminal, options.consoleSocket != nil {
            throw RuntimeError("--console-socket is given but process.terminal is false")
        }

        let directory = ContainerState.directory(root: root, id: options.id)
        try Files.makeDirectory(root)
        guard mkdir(directory, 0o700) == 0 else {
            if errno == EEXIST {
                throw RuntimeError("container id \"\(options.id)\" is in use; delete it or choose another")
            }
            throw SystemError("make directory", directory, errno: errno)
        }
        var sandbox: String?
        var standIn: StandIn?
        do {
            // Of other containers: this one has no state yet.
            let membership = try Membership(
                spec, id: options.id, states: ContainerState.all(root: root), source: bundle + "/config.json")
            sandbox = membership.sandbox
            let address =
                membership.isThere
                ? ShimProcess.address(root: root, sandbox: membership.sandbox)
                : try ShimProcess.start(
                    sandbox: membership.sandbox, root: root, directory: directory, configuration: config, debug: debug)
            let task = try TaskClient.connect(address)
            var follower = Follower(task: task, id: options.id)
            var request = Containerd_Task_V2_CreateTaskRequest()
            request.id = options.id
            request.bundle = bundle
            request.terminal = terminal
            let streams = try CallerStreams.paths(
                terminal: terminal, consoleSocket: options.consoleSocket, console: options.console)
            request.stdin = streams.stdin
            request.stdout = streams.stdout
            request.stderr = streams.stderr
            // The process that managers see is there first: its network namespace is the sandbox's, and hooks are told of it.
            let process: StandIn
            let namespace = StandIn.Namespace(spec)
            if foreground {
                try namespace.enter()
                process = StandIn(pid: getpid())
                if terminal, options.consoleSocket == nil { follower.terminal = 0 }
            } else {
                process = try Attach.spawn(
                    address: address, id: options.id, bundle: bundle, terminal: terminal ? request.stdin : nil,
                    namespace: namespace)
            }
            standIn = process
            let metadata = [
                ContainerdTasks.processKey: ["\(process.pid)"],
                ContainerdTasks.joinsKey: membership.joins.map { "\($0.key)=\($0.value)" }.sorted(),
            ]
            do {
                let _: Containerd_Task_V2_CreateTaskResponse = try task.call(
                    "Create", request, timeout: answerLimit(spec), metadata: metadata)
            } catch let error as RPCError where error.code == .unavailable {
                throw RuntimeError(
                    "the shim of container \"\(options.id)\" has ended while it created it: was it killed, or out of memory?"
                )
            }
            try process.follow()
            let state = ContainerState(
                ociVersion: spec.ociVersion, id: options.id, bundle: bundle,
                rootfs: spec.root?.path ?? bundle + "/rootfs",
                sandbox: membership.sandbox, address: address, pid: process.pid,
                start: ProcessIdentity(process.pid)?.start, created: ErrorLog.now(), owner: getuid(),
                annotations: spec.annotations ?? [:])
            try state.save(root: root)
            if let file = options.pidFile { try Files.replace(file, "\(state.pid)", mode: 0o644) }
            return (state, task, follower)
        } catch {
            standIn?.end()
            // Without one, nothing but the directory is there.
            if let sandbox { try? remove(options.id, from: sandbox) } else { Files.removeTree(directory) }
            throw error
        }
    }

    /// How long the shim may take to boot and to create: as long as the configuration gives the guest, and what is done beside it.
    private func answerLimit(_ spec: Spec) -> Duration {
        let configuration = try? Configuration.load(config).applying(spec.annotations ?? [:], source: "config.json")
        let guest =
            configuration.map { .seconds($0.number(Keys.dialTimeout) + $0.number(Keys.createTimeout)) }
            ?? Deadline.announcement.limit + Deadline.creation.limit
        return guest + Deadline.shimCreate.limit
    }

    /// Ends everything of a container, whatever state it is in; its sandbox too, unless others live in it.
    func remove(_ id: String, from sandbox: String? = nil) throws {
        let directory = ContainerState.directory(root: root, id: id)
        let state = try ContainerState.forRemoval(root: root, id: id)?.here()
        let process = state?.process
        let sandbox = sandbox ?? state?.sandboxName ?? id
        defer {
            // It ends with the container, if it can.
            if let process, process.pid != getpid() {
                process.kill(after: Deadline.standIn.limit, within: Deadline.standIn.limit)
            }
        }
        // A shim that is dead, halted or hung is not asked: its ledger tells what to do.
        if !askShim(toRemove: id, from: sandbox) { ShimProcess.takeAway(sandbox: sandbox, root: root) }
        Files.removeTree(directory)
    }

    /// - Returns: whether it has done so.
    private func askShim(toRemove id: String, from sandbox: String) -> Bool {
        let machine = SandboxPaths(sandbox: sandbox).machine
        let isShared = ContainerState.all(root: root).contains { $0.id != id && $0.sandboxName == sandbox }
        guard Ledger.ownerLife(machine) == .running,
            let task = try? TaskClient.connect(ShimProcess.address(root: root, sandbox: sandbox))
        else { return false }
        var isDeleted = false
        for step in [
            { try task.kill(id, signal: SIGKILL, all: true) },
            // Alone, it ends with its machine in any case.
            { if isShared { _ = try? task.wait(id, timeout: Deadline.pod.limit) } },
            {
                try task.delete(id)
                isDeleted = true
            },
            { try task.shutdown(id, now: !isShared && !isDeleted) },
        ] {
            do { try step() } catch let error as RPCError where error.code == .deadlineExceeded { return false } catch {
            }
        }
        return isShared || !Files.exists(machine)
    }
}

struct Create: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Boots a VM and creates a container in it; start runs its program.")
    @OptionGroup var options: BundleOptions
    @ParentCommand var runtime: KataRuntime

    func run() throws { _ = try runtime.global.create(options, foreground: false) }
}
