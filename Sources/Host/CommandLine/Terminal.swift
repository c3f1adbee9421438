import CLinux
import Glibc
import LinuxKernel

/// The host's side of a container's terminal. It is raw: the terminal in the guest processes the input.
enum Terminal {
    /// Makes a terminal, and sends its master to the listener on `socket` (runc's --console-socket).
    /// - Returns: the path of its slave.
    static func open(consoleSocket socket: String) throws -> String {
        let terminal = try PseudoTerminal()
        makeRaw(terminal.slave.raw)
        let path = try terminal.path
        let receiver = try UnixSocket.connect(socket)
        try receiver.send(Array(path.utf8), descriptors: [terminal.master.raw])
        // Keep the slave open until this program ends: the master would report a hang-up before the shim opens it.
        _ = try terminal.slave.duplicate().take()
        return path
    }

    /// The caller's terminal; -1: none of its standard streams is one. Keys come from standard input, so that is first.
    static func callers(among streams: [Int32] = [0, 1, 2]) -> Int32 { streams.first { isatty($0) == 1 } ?? -1 }

    /// Makes a terminal raw.
    /// - Parameter keepsOutput: whether it goes on to process output, such as newlines without a carriage return.
    /// - Returns: its previous settings; nil if the descriptor is not a terminal.
    @discardableResult
    static func makeRaw(_ descriptor: Int32, keepsOutput: Bool = false) -> termios? {
        var settings = termios()
        // SAFETY: these calls only use the structure that they are given.
        guard unsafe tcgetattr(descriptor, &settings) == 0 else { return nil }
        let before = settings
        unsafe cfmakeraw(&settings)
        if keepsOutput { settings.c_oflag = before.c_oflag }
        unsafe tcsetattr(descriptor, TCSANOW, &settings)
        return before
    }

    static func restore(_ descriptor: Int32, _ settings: termios) {
        // SAFETY: the call only reads its copy of the settings.
        _ = unsafe withUnsafePointer(to: settings) { unsafe tcsetattr(descriptor, TCSANOW, $0) }
    }

    static func size(_ descriptor: Int32) -> (rows: UInt16, columns: UInt16)? {
        var rows: UInt16 = 0
        var columns: UInt16 = 0
        // SAFETY: the call writes to both numbers.
        let status = unsafe clx_get_window_size(descriptor, &rows, &columns)
        return status >= 0 && rows > 0 ? (rows, columns) : nil
    }
}
