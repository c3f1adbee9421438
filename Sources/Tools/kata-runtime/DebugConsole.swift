import Glibc
import LinuxKernel
import OCISpec
import Sandbox
import Streams

/// `kata-runtime exec SANDBOX`: the caller's terminal on a shell of the guest itself.
enum DebugConsole {
    /// - Parameter id: a sandbox, or a container that is one.
    static func run(root: String, id: String, port: UInt32) throws {
        let path = try socket(root: root, id: id)
        guard port == DebugConsoleDoor.port else {
            throw RuntimeError(
                "--kata-debug-port \(port): the guest's debug console is on port \(DebugConsoleDoor.port)")
        }
        let stream: FileDescriptor
        do { stream = try HybridDialer.connect(path, port, until: .now + Deadline.console.limit * 2) } catch {
            throw RuntimeError("the guest of \"\(id)\" does not answer on its debug console: \(error)")
        }
        let before = Terminal.makeRaw(0)
        // The relay makes them non-blocking, for whoever else has them too.
        let flags = [0, 1].map { fcntl($0, F_GETFL) }
        defer {
            if var before { tcsetattr(0, TCSANOW, &before) }
            for (descriptor, flags) in zip([Int32(0), 1], flags) { _ = fcntl(descriptor, F_SETFL, flags) }
        }
        let relay = try StreamRelay()
        relay.connect(from: try FileDescriptor.duplicate(of: 0), to: try stream.duplicate())
        // The shell's last word ends it, not the caller's.
        let ended = try Pipe()
        let end = try ended.writeEnd.duplicate().take()
        relay.connect(from: stream, to: try FileDescriptor.duplicate(of: 1)).whenEnded { _ = write(end, "!", 1) }
        var byte: UInt8 = 0
        _ = read(ended.readEnd.raw, &byte, 1)
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
