import AgentAPI
import Channel
import Cleanup
import Glibc
import LinuxKernel
import OCISpec
import Pod
import Sandbox
import Streams

/// `kata-runtime exec SANDBOX`: connects the calling terminal to a shell in the guest.
package enum DebugConsoleClient {
    /// - Parameters:
    ///   - id: of a sandbox, or of a container in it.
    ///   - port: the vsock port that the user asks for; nil: the debug console's.
    /// - Throws: `RuntimeError` if the sandbox does not exist, or has no debug console.
    package static func run(root: String, id: String, port: UInt32?) throws {
        let port = port ?? GuestPort.debugConsole
        let path = try socket(root: root, id: id)
        guard port == GuestPort.debugConsole else {
            throw RuntimeError(
                "--kata-debug-port \(port): the guest's debug console is on port \(GuestPort.debugConsole)")
        }
        let stream: FileDescriptor
        do { stream = try HybridVsockChannel.connect(path, port, until: .now + Deadline.console.limit * 2) } catch {
            throw RuntimeError("the guest of \"\(id)\" does not answer on its debug console: \(error)")
        }
        let before = Terminal.makeRaw(0)
        // The relay makes the descriptors non-blocking, also for other processes that have them.
        let flags = [0, 1].map { fcntl($0, F_GETFL) }
        defer {
            if let before { Terminal.restore(0, before) }
            for (descriptor, flags) in zip([Int32(0), 1], flags) { _ = fcntl(descriptor, F_SETFL, flags) }
        }
        let relay = try StreamRelay()
        relay.connect(from: try FileDescriptor.duplicate(of: 0), to: try stream.duplicate())
        // The end of the shell's output ends the session, not the end of the caller's input.
        let ended = try Pipe()
        let end = try ended.writeEnd.duplicate().take()
        relay.connect(from: stream, to: try FileDescriptor.duplicate(of: 1)).whenEnded { PipeSignal.send(end) }
        _ = PipeSignal.wait(ended.readEnd.raw)
    }

    private static func socket(root: String, id: String) throws -> String {
        try ContainerState.validate(id: id)
        let state = try? ContainerState.load(root: root, id: id)
        let sandbox = state.flatMap { PodRole.sandboxID(in: $0.annotations) } ?? state?.sandboxName ?? id
        try Identifier.check(sandbox, "sandbox id")
        let paths = SandboxPaths(sandbox: sandbox)
        guard Files.isDirectory(paths.machine) else { throw RuntimeError("there is no sandbox \"\(sandbox)\"") }
        guard Files.exists(paths.debugConsole) else {
            throw RuntimeError(
                "sandbox \"\(sandbox)\" has no debug console: set debug_console_enabled under [agent.kata] before it starts; or give a program to run in the container"
            )
        }
        return paths.debugConsole
    }
}
