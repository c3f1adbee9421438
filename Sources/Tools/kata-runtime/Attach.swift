import ArgumentParser
import CLinux
import Glibc
import Linux

/// The process whose pid managers see: ends with the container's status.
struct Attach: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Stands for a container's process.", shouldDisplay: false)
    @Option(help: "The added process; the first one without it.") var exec = ""
    @Flag(help: "Standard input is the container's terminal.") var terminal = false
    @Argument(help: "The container's id.") var id: String
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        Follower.blockSignals()
        let task = try TaskClient.connect(ShimProcess.address(root: runtime.global.root, id: id))
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
        let slave = try FileDescriptor.open(terminal ?? "/dev/null", O_RDWR | O_NOCTTY)
        command.descriptors[0] = slave.raw
        let child = try ChildWithOutput(command, output: [3])
        var byte: UInt8 = 0
        guard read(child.output.raw, &byte, 1) == 1 else {
            throw RuntimeError("the process that stands for container \"\(id)\" did not start")
        }
        return child.process.pid
    }
}
