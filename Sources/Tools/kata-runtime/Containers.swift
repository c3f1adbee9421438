import ArgumentParser
import CLinux
import Glibc
import Linux
import OCISpec
import Shim
import ShimAPI

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
        let spec = try Spec.load(path: bundle + "/config.json")
        guard let process = spec.process else { throw SpecError(bundle + "/config.json", "process", "missing") }
        let rootfs = spec.root?.path ?? "rootfs"
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
        do {
            let address = try ShimProcess.start(
                id: options.id, root: root, directory: directory, configuration: config, debug: debug)
            let task = try TaskClient.connect(address)
            var follower = Follower(task: task, id: options.id)
            var request = Containerd_Task_V2_CreateTaskRequest()
            request.id = options.id
            request.bundle = bundle
            request.terminal = terminal
            if terminal {
                let slave: String
                if let socket = options.consoleSocket {
                    slave = try Terminal.open(consoleSocket: socket)
                } else {
                    slave = options.console ?? "/proc/\(getpid())/fd/0"
                }
                request.stdin = slave
                request.stdout = slave
            } else {
                request.stdin = "/proc/\(getpid())/fd/0"
                request.stdout = "/proc/\(getpid())/fd/1"
                request.stderr = "/proc/\(getpid())/fd/2"
            }
            let _: Containerd_Task_V2_CreateTaskResponse = try task.call("Create", request, timeout: .seconds(180))
            var state = ContainerState(
                ociVersion: spec.ociVersion, id: options.id, bundle: bundle,
                rootfs: rootfs.hasPrefix("/") ? rootfs : bundle + "/" + rootfs,
                address: address, pid: 0, created: ErrorLog.now(), owner: getuid(), annotations: spec.annotations ?? [:]
            )
            if foreground {
                state.pid = getpid()
                if terminal, options.consoleSocket == nil { follower.terminal = 0 }
            } else {
                state.pid = try Attach.spawn(
                    root: root, id: options.id, exec: "", terminal: terminal ? request.stdin : nil)
            }
            try state.save(root: root)
            if let file = options.pidFile { try Files.replace(file, "\(state.pid)", mode: 0o644) }
            return (state, task, follower)
        } catch {
            try? remove(options.id)
            throw error
        }
    }

    /// Ends everything of a container, whatever state it is in.
    func remove(_ id: String) throws {
        let directory = ContainerState.directory(root: root, id: id)
        let address = SocketAddress.path(containerd: root, namespace: ShimProcess.namespace, group: id)
        if let task = try? TaskClient.connect(address) {
            try? task.kill(id, signal: SIGKILL, all: true)
            try? task.delete(id)
            try task.shutdown(id)
        } else {
            ShimProcess.delete(id: id, root: root, directory: directory)
        }
        Files.removeTree(directory)
    }
}

struct Create: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Boots a VM and creates a container in it; start runs its program.")
    @OptionGroup var options: BundleOptions
    @ParentCommand var runtime: KataRuntime

    func run() throws { _ = try runtime.global.create(options, foreground: false) }
}

struct Start: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Runs the program of a created container.")
    @Argument(help: "The container's id.") var ids: [String]
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        for id in ids {
            let state = try ContainerState.load(root: runtime.global.root, id: id)
            try TaskClient.connect(state.address).start(id)
        }
    }
}

struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Creates and starts a container; ends with its status.")
    @OptionGroup var options: BundleOptions
    @Flag(name: .shortAndLong, help: "Return once the container runs.") var detach = false
    @Flag(help: "Keep the container when it has ended.") var keep = false
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        let global = runtime.global
        Follower.blockSignals()
        let (state, task, follower) = try global.create(options, foreground: !detach)
        do {
            try task.start(state.id)
            if detach { return }
            follower.resize()
            let before = follower.terminal >= 0 ? Terminal.makeRaw(follower.terminal) : nil
            let outcome = Result { try follower.follow() }
            if var before { tcsetattr(follower.terminal, TCSANOW, &before) }
            let status = try outcome.get()
            if !keep { try global.remove(state.id) }
            throw ExitCode(status)
        } catch let error as ExitCode { throw error } catch {
            try? global.remove(state.id)
            throw error
        }
    }
}

struct Kill: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Sends a signal to a container.")
    @Flag(name: .shortAndLong, help: "To all its processes.") var all = false
    @Argument(help: "The container's id.") var id: String
    @Argument(help: "A signal's name or number.") var signal = "SIGTERM"
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        let number = try Signals.number(signal)
        let state = try ContainerState.load(root: runtime.global.root, id: id)
        guard let task = try? TaskClient.connect(state.address), let now = try? task.state(id), now.status != .stopped
        else {
            if all { return }
            throw RuntimeError("container \"\(id)\" is not running")
        }
        try task.kill(id, signal: number, all: all)
    }
}

struct Delete: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Removes a stopped container; with --force, any.")
    @Flag(name: .shortAndLong, help: "Kill it first; an unknown id is no error.") var force = false
    @Argument(help: "The container's id.") var ids: [String]
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        let global = runtime.global
        for id in ids {
            try ContainerState.validate(id: id)
            guard Files.exists(ContainerState.directory(root: global.root, id: id)) else {
                if force { continue }
                throw RuntimeError("container \"\(id)\" does not exist")
            }
            if !force, let state = try? ContainerState.load(root: global.root, id: id),
                let now = try? TaskClient.connect(state.address).state(id),
                now.status == .running || now.status == .paused
            {
                throw RuntimeError("container \"\(id)\" is running: stop it first, or use --force")
            }
            try global.remove(id)
        }
    }
}

/// The process whose pid managers see: ends with the container's status.
struct Attach: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Stands for a container's process.", shouldDisplay: false)
    @Option(help: "The added process; the first one without it.") var exec = ""
    @Flag(help: "Standard input is the container's terminal.") var terminal = false
    @Argument(help: "The container's id.") var id: String
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        Follower.blockSignals()
        let address = SocketAddress.path(containerd: runtime.global.root, namespace: ShimProcess.namespace, group: id)
        let task = try TaskClient.connect(address)
        // A leader of the terminal is told of its resizes.
        if terminal { _ = clx_set_controlling_terminal(0) }
        let follower = Follower(task: task, id: id, exec: exec, terminal: terminal ? 0 : -1)
        follower.resize()
        // The first byte tells that from here on signals are passed on.
        var byte: UInt8 = 1
        _ = write(3, &byte, 1)
        close(3)
        let status = try follower.follow()
        if !exec.isEmpty { try? task.delete(id, exec: exec) }
        throw ExitCode(status)
    }

    static func spawn(root: String, id: String, exec: String, terminal: String?) throws -> Int32 {
        var command = Command(
            "/proc/self/exe",
            ["--root", root, "attach"] + (exec.isEmpty ? [] : ["--exec", exec])
                + (terminal != nil ? ["--terminal"] : []) + [id])
        command.name = "kata-runtime"
        command.newSession = true
        let pipe = try Pipe()
        command.descriptors = [3: pipe.writeEnd.raw]
        let slave = try FileDescriptor.open(terminal ?? "/dev/null", O_RDWR | O_NOCTTY)
        command.descriptors[0] = slave.raw
        let child = try ChildProcess(command)
        let null = open("/dev/null", O_WRONLY | O_CLOEXEC)
        dup2(null, pipe.writeEnd.raw)
        close(null)
        var byte: UInt8 = 0
        guard read(pipe.readEnd.raw, &byte, 1) == 1 else {
            throw RuntimeError("the process that stands for container \"\(id)\" did not start")
        }
        return child.pid
    }
}

struct Pause: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Stops all processes of a container where they are.")
    @Argument(help: "The container's id.") var id: String
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        let state = try ContainerState.load(root: runtime.global.root, id: id)
        var request = Containerd_Task_V2_PauseRequest()
        request.id = id
        try TaskClient.connect(state.address).perform("Pause", request, timeout: .seconds(15))
    }
}

struct Resume: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Lets the processes of a paused container go on.")
    @Argument(help: "The container's id.") var id: String
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        let state = try ContainerState.load(root: runtime.global.root, id: id)
        var request = Containerd_Task_V2_ResumeRequest()
        request.id = id
        try TaskClient.connect(state.address).perform("Resume", request, timeout: .seconds(15))
    }
}
