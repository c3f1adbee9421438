import Glibc

/// One byte in a pipe, as a signal between processes or threads.
enum PipeSignal {
    /// Blocks until there is a byte.
    /// - Returns: false if the pipe has ended.
    static func wait(_ descriptor: Int32) -> Bool {
        var byte: UInt8 = 0
        // SAFETY: `byte` has room for the one byte that is read.
        return unsafe read(descriptor, &byte, 1) == 1
    }

    static func send(_ descriptor: Int32) {
        // SAFETY: the literal has the one byte that is written.
        _ = unsafe write(descriptor, "!", 1)
    }
}
