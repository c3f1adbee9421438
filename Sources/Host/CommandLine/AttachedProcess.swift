import CLinux
import Glibc
import LinuxKernel
import Shim

/// The attach process's own side: `kata-runtime attach`.
package struct AttachedProcess {
    /// Read end of a pipe: a byte and the `ContainerView` when the container exists, nothing if it could not be
    /// created.
    static let startDescriptor: Int32 = 4
    /// Write end of a pipe: a byte when signals are caught, then the error, if there is one.
    static let reportDescriptor: Int32 = 3
    static let startByte: UInt8 = 1
    /// Maximum length of a `ContainerView`, in bytes.
    private static let viewLimit = 16 << 20

    private let follower: Follower

    /// - Parameters:
    ///   - address: the shim's socket.
    ///   - exec: an exec's id; empty for the container's first process.
    ///   - hasTerminal: whether standard input is the container's terminal.
    /// - Throws: `SystemError` when the shim's socket has no listener, or the event loop can't be made.
    package init(address: String, id: String, exec: String, hasTerminal: Bool) throws {
        // SAFETY: the call copies the name.
        unsafe clx_set_thread_name("kata-runtime")
        Follower.blockSignals()
        let task = try TaskClient.connect(address)
        // The leader of a terminal's session gets SIGWINCH.
        if hasTerminal { _ = clx_set_controlling_terminal(0) }
        follower = Follower(task: task, id: id, exec: exec, terminal: hasTerminal ? 0 : -1, isAttached: true)
    }

    /// Follows the container until it ends.
    /// - Returns: its exit status; 1 if it was not created, or its files can't be shown.
    /// - Throws: `SystemError` of the pipe from the parent, or when no thread can be started. `RPCError` of the wait,
    ///   unless the shim has ended.
    package func run() throws -> Int32 {
        PipeSignal.send(Self.reportDescriptor)
        let message = try FileDescriptor(owning: Self.startDescriptor).readAll("the container", limit: Self.viewLimit)
        guard !message.isEmpty else { return 1 }
        do {
            if message.count > 1 { try ContainerView(json: Array(message.dropFirst())).enter() }
        } catch {
            try? FileDescriptor(owning: Self.reportDescriptor).writeAll(Array("\(error)".utf8), to: "create")
            return 1
        }
        close(Self.reportDescriptor)
        follower.resize()
        let status = try follower.follow()
        if !follower.exec.isEmpty { try? follower.task.delete(follower.id, exec: follower.exec) }
        return status
    }
}
