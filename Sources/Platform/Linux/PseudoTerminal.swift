import CLinux

/// A new terminal's two ends (pty(7)), close-on-exec; nobody's controlling terminal yet.
package struct PseudoTerminal: ~Copyable, Sendable {
    package let master: FileDescriptor
    package let slave: FileDescriptor

    /// - Parameter multiplexer: of the devpts that it is to be in.
    package init(from multiplexer: String = "/dev/ptmx") throws(SystemError) {
        var ends: (master: Int32, slave: Int32) = (-1, -1)
        try checkNegated(
            "open a terminal from", multiplexer, clx_open_terminal(multiplexer, &ends.master, &ends.slave))
        master = FileDescriptor(owning: ends.master)
        slave = FileDescriptor(owning: ends.slave)
    }

    /// Path of the slave.
    package var path: String {
        get throws(SystemError) { "/dev/pts/\(try checkNegated("name", "terminal", clx_terminal_number(master.raw)))" }
    }

    /// Closes the other end.
    package consuming func keepingMaster() -> FileDescriptor { master }
}
