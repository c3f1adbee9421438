import CLinux
import Glibc

/// The two ends of a new terminal (pty(7)), close-on-exec. It is no process's controlling terminal yet.
package struct PseudoTerminal: ~Copyable, Sendable {
    package let master: FileDescriptor
    package let slave: FileDescriptor

    /// - Parameter multiplexer: the ptmx of the devpts that gets the terminal.
    /// - Throws: `SystemError` when the multiplexer can't be opened, such as ENOSPC when there are too many terminals
    ///   (pty(7)). Also as `openSlave`.
    package init(from multiplexer: String = "/dev/ptmx") throws(SystemError) {
        try self.init(master: FileDescriptor.open(multiplexer, O_RDWR | O_NOCTTY), name: multiplexer)
    }

    /// - Parameters:
    ///   - master: a multiplexer that was just opened for reading and writing.
    ///   - name: names it in errors.
    /// - Throws: as `openSlave`.
    package init(master: consuming FileDescriptor, name: String) throws(SystemError) {
        slave = try Self.openSlave(of: master.raw, name: name)
        self.master = master
    }

    /// Opens the slave of a master (ioctl_tty(2), TIOCGPTPEER).
    /// - Throws: `SystemError` with the errno of ioctl_tty(2), such as ENOTTY for a descriptor that is no terminal's.
    package static func openSlave(of master: Int32, name: String) throws(SystemError) -> FileDescriptor {
        FileDescriptor(owning: try checkNegativeErrno("open a terminal from", name, clx_open_slave(master)))
    }

    /// Lets a terminal send newlines as its program writes them, without a carriage return (termios(3), ONLCR).
    /// - Throws: `SystemError`: ENOTTY for a descriptor that is no terminal's.
    package static func sendPlainNewlines(_ master: Int32) throws(SystemError) {
        var settings = termios()
        // SAFETY: both calls only use the structure that they are given.
        try check("read the settings of", "terminal") { unsafe tcgetattr(master, &settings) }
        settings.c_oflag &= ~tcflag_t(ONLCR)
        try check("change the settings of", "terminal") { unsafe tcsetattr(master, TCSANOW, &settings) }
    }

    /// The path of the slave.
    /// - Throws: `SystemError` when the kernel doesn't give the terminal's number (ioctl_tty(2), TIOCGPTN).
    package var path: String {
        get throws(SystemError) {
            "/dev/pts/\(try checkNegativeErrno("name", "terminal", clx_terminal_number(master.raw)))"
        }
    }

    /// Closes the other end.
    package consuming func keepingMaster() -> FileDescriptor { master }
}
