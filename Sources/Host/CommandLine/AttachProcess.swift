import CLinux
import Glibc
import LinuxKernel
import OCISpec

/// The process whose pid managers see for a container: a `kata-runtime attach`, or the calling process.
///
/// It lives in the sandbox's network namespace and in a separate pid namespace. It passes signals and terminal sizes
/// on, and ends with the container's exit status. Its parent hands it the `ContainerView` when the container exists.
struct AttachProcess {
    /// The network namespace of the process.
    enum Namespace: Equatable {
        case callers, new
        case path(String)

        /// The namespace that config.json asks for (config-linux.md, "Namespaces").
        init(_ spec: Spec) {
            guard let network = spec.linux?.namespaces?.first(where: { $0.type == "network" }) else {
                self = .callers
                return
            }
            let path = network.path ?? ""
            self = path.isEmpty ? .new : .path(path)
        }

        /// Moves the calling thread. Others find the namespace of the process's first thread.
        func enter() throws {
            switch self {
            case .callers: break
            case .new: _ = try NetworkNamespace.make()
            case .path(let path): try NetworkNamespace.open(path).enter()
            }
        }
    }

    let pid: Int32
    /// Write end of the pipe that the process waits on; -1 for the calling process.
    private let start: Int32
    /// Read end of the pipe on which the process reports an error, or ends it.
    private let report: Int32

    private init(pid: Int32, start: Int32, report: Int32) {
        (self.pid, self.start, self.report) = (pid, start, report)
    }

    /// The calling process, in the foreground.
    static func current(in namespace: Namespace) throws -> AttachProcess {
        try namespace.enter()
        return AttachProcess(pid: getpid(), start: -1, report: -1)
    }

    /// Starts a process that waits for `follow`.
    /// - Parameters:
    ///   - address: the shim's socket.
    ///   - exec: an exec's id; empty for the container's first process.
    ///   - terminal: path of the terminal that gets standard input.
    static func spawn(
        address: String, id: String, exec: String = "", terminal: String?, namespace: Namespace
    ) throws -> AttachProcess {
        var command = Command(
            "/proc/self/exe",
            ["attach", "--address", address] + (exec.isEmpty ? [] : ["--exec", exec])
                + (terminal != nil ? ["--terminal"] : []) + [id])
        command.name = "kata-runtime"
        command.newSession = true
        // Enough to mount the container's files, even below directories of other users.
        command.bounding = CapabilitySet([.dacOverride, .dacReadSearch, .sysAdmin])
        let slave = try FileDescriptor.open(terminal ?? "/dev/null", O_RDWR | O_NOCTTY)
        command.descriptors[0] = slave.raw
        let start = try Pipe()
        command.descriptors[AttachedProcess.startDescriptor] = start.readEnd.raw
        // Managers that list this pid namespace find this process, and none of the host's.
        command.newNamespaces = UInt64(clx_new_pid.rawValue)
        switch namespace {
        case .callers: break
        case .new: command.newNamespaces |= UInt64(clx_new_net.rawValue)
        case .path(let path): command.networkNamespace = path
        }
        let child = try ChildWithOutput(command, output: [AttachedProcess.reportDescriptor])
        guard PipeSignal.wait(child.output.raw) else {
            throw RuntimeError("the attach process of container \"\(id)\" did not start")
        }
        return AttachProcess(
            pid: child.process.pid, start: try start.writeEnd.duplicate().take(),
            report: try child.output.duplicate().take())
    }

    /// Kills and reaps the process of a container that was not created. An unreaped one would keep its cgroup.
    func end() {
        guard start >= 0 else { return }
        kill(pid, SIGKILL)
        waitpid(pid, nil, 0)
    }

    /// Lets the process follow the container, which exists now.
    /// - Parameter view: nil for an exec.
    /// - Throws: `RuntimeError` with the reason if it can't show the container's files.
    func follow(_ view: ContainerView?) throws {
        guard start >= 0 else { return }
        let message = [AttachedProcess.startByte] + (try view?.json ?? [])
        // A process that was killed meanwhile is a container that has stopped.
        try? FileDescriptor(owning: start).writeAll(message, to: "process \(pid)")
        let error = try FileDescriptor(owning: report).readAll(
            "the report of process \(pid)", limit: 4096, by: .now + Deadline.containerView.limit)
        guard error.isEmpty else { throw RuntimeError(String(decoding: error, as: UTF8.self)) }
    }
}
