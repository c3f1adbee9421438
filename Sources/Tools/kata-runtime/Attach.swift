import ArgumentParser
import CLinux
import Glibc
import LinuxKernel
import OCISpec

/// The process whose pid managers see: ends with the container's status.
struct Attach: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Stands for a container's process.", shouldDisplay: false)
    @Option(help: "Socket of the shim.") var address: String
    @Option(help: "The added process; the first one without it.") var exec = ""
    @Flag(help: "Standard input is the container's terminal.") var terminal = false
    @Option(help: "The container's bundle, whose files are to be this process's.") var bundle: String?
    @Argument(help: "The container's id.") var id: String

    func run() throws {
        clx_set_thread_name("kata-runtime")
        Follower.blockSignals()
        let task = try TaskClient.connect(address)
        // A leader of the terminal is told of its resizes.
        if terminal { _ = clx_set_controlling_terminal(0) }
        let follower = Follower(task: task, id: id, exec: exec, terminal: terminal ? 0 : -1)
        // The first byte tells that from here on no signal is lost.
        var byte: UInt8 = 1
        _ = write(3, &byte, 1)
        // Nothing comes when the container could not be created.
        guard read(4, &byte, 1) == 1 else { throw ExitCode(1) }
        close(4)
        do { if let bundle { try ContainerView.enter(bundle: bundle) } } catch {
            _ = "\(error)".withCString { write(3, $0, strlen($0)) }
            throw ExitCode(1)
        }
        close(3)
        follower.resize()
        let status = try follower.follow()
        if !exec.isEmpty { try? task.delete(id, exec: exec) }
        throw ExitCode(status)
    }

    /// - Parameters:
    ///   - bundle: of a container's first process.
    ///   - namespace: the network namespace that it is to be in, and makes if there is none.
    static func spawn(
        address: String, id: String, exec: String = "", bundle: String? = nil, terminal: String?,
        namespace: StandIn.Namespace
    ) throws -> StandIn {
        var command = Command(
            "/proc/self/exe",
            ["attach", "--address", address] + (exec.isEmpty ? [] : ["--exec", exec])
                + (bundle.map { ["--bundle", $0] } ?? []) + (terminal != nil ? ["--terminal"] : []) + [id])
        command.name = "kata-runtime"
        command.newSession = true
        // Enough to mount the container's files, whoever owns the directories that lead to them.
        command.bounding = CapabilitySet([.dacOverride, .dacReadSearch, .sysAdmin])
        let slave = try FileDescriptor.open(terminal ?? "/dev/null", O_RDWR | O_NOCTTY)
        command.descriptors[0] = slave.raw
        let go = try Pipe()
        command.descriptors[4] = go.readEnd.raw
        // Who looks for the container's processes there finds this one, and none of the host's.
        command.newNamespaces = UInt64(clx_new_pid.rawValue)
        switch namespace {
        case .callers: break
        case .new: command.newNamespaces |= UInt64(clx_new_net.rawValue)
        case .path(let path): command.networkNamespace = path
        }
        let child = try ChildWithOutput(command, output: [3])
        var byte: UInt8 = 0
        guard read(child.output.raw, &byte, 1) == 1 else {
            throw RuntimeError("the process that stands for container \"\(id)\" did not start")
        }
        return StandIn(
            pid: child.process.pid, go: try go.writeEnd.duplicate().take(),
            report: try child.output.duplicate().take())
    }
}

/// The process that stands for a container: started, or this one.
struct StandIn {
    enum Namespace: Equatable {
        case callers, new
        case path(String)

        /// What a specification says of the network.
        init(_ spec: Spec) {
            guard let network = spec.linux?.namespaces?.first(where: { $0.type == "network" }) else {
                self = .callers
                return
            }
            let path = network.path ?? ""
            self = path.isEmpty ? .new : .path(path)
        }

        /// Moves the calling thread; for the main one, the namespace that others see of this process.
        func enter() throws {
            switch self {
            case .callers: break
            case .new: _ = try NetworkNamespace.make()
            case .path(let path): try NetworkNamespace.open(path).enter()
            }
        }
    }

    let pid: Int32
    /// Where the process waits to be told that the container is there; -1 for this process.
    private let go: Int32
    /// Where it says what it failed in; ended once it follows the container.
    private let report: Int32

    init(pid: Int32, go: Int32 = -1, report: Int32 = -1) { (self.pid, self.go, self.report) = (pid, go, report) }

    /// Nothing came of the container. One that has ended and was not collected would still be in its control group.
    func end() {
        guard go >= 0 else { return }
        kill(pid, SIGKILL)
        waitpid(pid, nil, 0)
    }

    /// The container is there: follow it.
    func follow() throws {
        guard go >= 0 else { return }
        var byte: UInt8 = 1
        _ = write(go, &byte, 1)
        close(go)
        let said = try FileDescriptor(owning: report).readAll(
            "what process \(pid) says", limit: 4096, by: .now + Deadline.view.limit)
        guard said.isEmpty else { throw RuntimeError(String(decoding: said, as: UTF8.self)) }
    }
}
