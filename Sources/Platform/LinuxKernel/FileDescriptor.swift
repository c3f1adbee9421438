import CLinux
import Glibc

/// An open descriptor with one owner; it closes when the owner ends.
package struct FileDescriptor: ~Copyable, Sendable {
    package let raw: Int32

    package init(owning raw: Int32) { self.raw = raw }

    deinit { close(raw) }

    /// Gives up ownership: the caller closes the descriptor.
    package consuming func take() -> Int32 {
        let raw = raw
        discard self
        return raw
    }
}

extension FileDescriptor {
    /// Opens `path` with open(2); close-on-exec from birth.
    /// - Throws: `SystemError` with the errno of open(2).
    package static func open(_ path: String, _ flags: Int32, mode: mode_t = 0o600) throws(SystemError) -> FileDescriptor
    {
        // SAFETY: open(2) only reads the path.
        FileDescriptor(owning: try check("open", path) { unsafe Glibc.open(path, flags | O_CLOEXEC, mode) })
    }

    /// Makes a further descriptor of the same open file, close-on-exec.
    /// - Throws: `SystemError`: EMFILE when this process has too many descriptors.
    package func duplicate() throws(SystemError) -> FileDescriptor { try Self.duplicate(of: raw) }

    /// Duplicates a descriptor that has no owner here, such as a standard stream.
    /// - Throws: `SystemError`: EBADF for a number that is not open, EMFILE when this process has too many descriptors.
    package static func duplicate(of raw: Int32) throws(SystemError) -> FileDescriptor {
        FileDescriptor(owning: try check("duplicate descriptor", "\(raw)") { fcntl(raw, F_DUPFD_CLOEXEC, 3) })
    }
}

extension Optional where Wrapped == FileDescriptor {
    /// The number, without ownership.
    package var raw: Int32? {
        switch self {
        case .some(let descriptor): descriptor.raw
        case .none: nil
        }
    }
}

/// Complete transfers. `object` names the file in errors.
extension FileDescriptor {
    /// Reads until the end, at most `limit` bytes.
    /// - Throws: ETIMEDOUT when the end has not come by `deadline`; EFBIG for more than `limit` bytes.
    package func readAll(_ object: String, limit: Int, by deadline: ContinuousClock.Instant? = nil) throws(SystemError)
        -> [UInt8]
    {
        let raw = raw
        var bytes: [UInt8] = []
        var room = 4096
        while true {
            if let deadline, !isReadable(by: deadline) {
                throw SystemError("read", object, errno: ETIMEDOUT)
            }
            // SAFETY: read(2) writes at most `count` bytes.
            let (chunk, count) = unsafe readBytes(upTo: room) { unsafe Glibc.read(raw, $0.baseAddress, $0.count) }
            try checkNegativeErrno("read", object, count)
            if chunk.isEmpty { return bytes }
            bytes = bytes.isEmpty ? chunk : bytes + chunk
            room = min(2 * room, 65536)
            if bytes.count > limit { throw SystemError("read", object, errno: EFBIG) }
        }
    }

    /// Waits until a read doesn't block.
    /// - Returns: false when the time is over.
    package func isReadable(by deadline: ContinuousClock.Instant) -> Bool { isReady(raw, by: deadline) }

    /// Writes all bytes. Blocks until that is done.
    /// - Throws: `SystemError` with the errno of write(2), such as ENOSPC. Some bytes may be written then.
    package func writeAll(_ bytes: [UInt8], to object: String) throws(SystemError) {
        let raw = raw
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = try check("write", object) {
                // SAFETY: the bytes live until the call returns.
                unsafe rest.withUnsafeBytes { unsafe Glibc.write(raw, $0.baseAddress, $0.count) }
            }
            rest = rest.dropFirst(count)
        }
    }
}

/// Calls a system call with an uninitialised buffer of `room` bytes; repeats it on EINTR.
/// - Parameter call: returns the number of bytes that it wrote, or a negative number and sets errno.
/// - Returns: the bytes, and their number or -errno.
package func readBytes(upTo room: Int, by call: (UnsafeMutableRawBufferPointer) -> Int) -> (bytes: [UInt8], result: Int)
{
    var result = 0
    // SAFETY: the call writes to no more than the buffer, and `count` is the number of bytes that it has written.
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: room) { buffer, count in
        repeat {
            result = unsafe call(UnsafeMutableRawBufferPointer(buffer))
            if result < 0 { result = -Int(errno) }
        } while result == -Int(EINTR)
        count = max(0, result)
    }
    return (bytes, result)
}

/// Writes a line to standard error.
package func writeError(_ line: String) {
    // SAFETY: the text ends with NUL.
    _ = unsafe (line + "\n").withCString { unsafe write(2, $0, strlen($0)) }
}

/// A pipe's two ends, close-on-exec.
package struct Pipe: ~Copyable, Sendable {
    package let readEnd: FileDescriptor
    package let writeEnd: FileDescriptor

    /// Makes a pipe.
    /// - Parameter nonBlocking: whether reads and writes fail with EAGAIN where they would block (pipe(2), O_NONBLOCK).
    /// - Throws: `SystemError` for lack of a descriptor or memory.
    package init(nonBlocking: Bool = false) throws(SystemError) {
        var ends: [Int32] = [-1, -1]
        // SAFETY: `ends` has room for the two descriptors.
        try unsafe checkNegativeErrno("create", "pipe", clx_pipe(&ends, nonBlocking ? O_NONBLOCK : 0))
        readEnd = FileDescriptor(owning: ends[0])
        writeEnd = FileDescriptor(owning: ends[1])
    }

    /// Closes the other end.
    package consuming func keepingReadEnd() -> FileDescriptor { readEnd }
    package consuming func keepingWriteEnd() -> FileDescriptor { writeEnd }
}

/// Wakes a thread that waits in poll(2): signals before it drains them count as one (eventfd(2)).
package struct WakeUp: ~Copyable, Sendable {
    private let counter: FileDescriptor

    /// Makes the counter, without a signal.
    /// - Throws: `SystemError` for lack of a descriptor or memory.
    package init() throws(SystemError) {
        counter = FileDescriptor(owning: try checkNegativeErrno("create", "eventfd", clx_event_counter()))
    }

    /// The descriptor to poll: readable after `signal`.
    package var descriptor: Int32 { counter.raw }

    package func signal() {
        var one: UInt64 = 1
        // SAFETY: write(2) reads the eight bytes of `one`.
        _ = unsafe write(counter.raw, &one, MemoryLayout<UInt64>.size)
    }

    package func drain() {
        var signals: UInt64 = 0
        // SAFETY: read(2) writes at most the eight bytes of `signals`.
        _ = unsafe read(counter.raw, &signals, MemoryLayout<UInt64>.size)
    }
}
