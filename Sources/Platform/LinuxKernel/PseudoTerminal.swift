import CLinux
import Glibc

/// A new terminal's two ends (pty(7)), close-on-exec; nobody's controlling terminal yet.
package struct PseudoTerminal: ~Copyable, Sendable {
    package let master: FileDescriptor
    package let slave: FileDescriptor

    /// - Parameter multiplexer: of the devpts that it is to be in.
    package init(from multiplexer: String = "/dev/ptmx") throws(SystemError) {
        try self.init(master: FileDescriptor.open(multiplexer, O_RDWR | O_NOCTTY), name: multiplexer)
    }

    /// - Parameters:
    ///   - master: a multiplexer, just opened for reading and writing.
    ///   - name: what errors call it.
    package init(master: consuming FileDescriptor, name: String) throws(SystemError) {
        slave = FileDescriptor(owning: try checkNegativeErrno("open a terminal from", name, clx_open_slave(master.raw)))
        self.master = master
    }

    /// Path of the slave.
    package var path: String {
        get throws(SystemError) {
            "/dev/pts/\(try checkNegativeErrno("name", "terminal", clx_terminal_number(master.raw)))"
        }
    }

    /// Closes the other end.
    package consuming func keepingMaster() -> FileDescriptor { master }
}
