import Glibc
import LinuxKernel
import Synchronization

/// Keeps a terminal's slave open while its program lives.
///
/// The master reads EIO while no slave is open (pty(7)). That is no end: agetty, login and systemd close a terminal,
/// or hang it up (vhangup(2)), and open it again.
package final class HeldTerminal: Sendable {
    private struct State: ~Copyable, Sendable {
        var slave: FileDescriptor?
        var hasEnded = false
    }
    private let state = Mutex(State())

    package init() {}

    /// Opens a slave for a master that has read EIO.
    /// - Returns: false when the program has ended, or no slave can be opened: then EIO is the end.
    func reopen(_ master: Int32) -> Bool {
        state.withLock { state in
            guard !state.hasEnded else { return false }
            // Also closes a slave that was hung up.
            state.slave = try? PseudoTerminal.openSlave(of: master, name: "master")
            return state.slave != nil
        }
    }

    /// Closes the slave: the program has ended, and the master's next EIO is the end of its output.
    package func end() {
        state.withLock { state in
            state.hasEnded = true
            state.slave = nil
        }
    }

    /// Whether an attempt that failed with EIO is to be repeated.
    package func isOpenAgain(_ master: Int32, after code: Int32) -> Bool { code == EIO && reopen(master) }
}
