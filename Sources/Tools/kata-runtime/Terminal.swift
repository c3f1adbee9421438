import CLinux
import Glibc
import LinuxKernel

/// The host's side of a container's terminal: raw, as the guest's own terminal does the cooking.
enum Terminal {
    /// Makes a terminal, gives its master to whoever listens on `socket` (runc's --console-socket), returns the slave's path.
    static func open(consoleSocket socket: String) throws -> String {
        let terminal = try PseudoTerminal()
        makeRaw(terminal.slave.raw)
        let path = try terminal.path
        let receiver = try UnixSocket.connect(socket)
        try receiver.send(Array(path.utf8), descriptors: [terminal.master.raw])
        // Open until this program ends: who reads the master would see its end before the shim has opened the slave.
        _ = try terminal.slave.duplicate().take()
        return path
    }

    /// Makes a terminal raw; the settings before that.
    @discardableResult
    static func makeRaw(_ descriptor: Int32) -> termios? {
        var settings = termios()
        guard tcgetattr(descriptor, &settings) == 0 else { return nil }
        let before = settings
        cfmakeraw(&settings)
        tcsetattr(descriptor, TCSANOW, &settings)
        return before
    }

    static func size(_ descriptor: Int32) -> (rows: UInt16, columns: UInt16)? {
        var rows: UInt16 = 0
        var columns: UInt16 = 0
        return clx_get_window_size(descriptor, &rows, &columns) >= 0 && rows > 0 ? (rows, columns) : nil
    }
}
