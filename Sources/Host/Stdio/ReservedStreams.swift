import Channel
import LinuxKernel
import Synchronization

/// Host ports that wait for a process's streams, each with the manager's end of the stream.
///
/// When the process never starts, `cancel` closes the ends, so that readers see the end of file.
package final class ReservedStreams {
    package var stdin: UInt32 = 0
    package var stdout: UInt32 = 0
    package var stderr: UInt32 = 0

    /// A descriptor that one caller takes.
    private final class End: Sendable {
        private let descriptor: Mutex<FileDescriptor?>
        init(_ descriptor: consuming FileDescriptor) { self.descriptor = Mutex(descriptor) }
        func take() -> FileDescriptor? { descriptor.withLock { $0.take() } }
    }

    private let channel: any GuestChannel
    private var reserved: [(port: UInt32, end: End)] = []

    package init(_ channel: any GuestChannel) { self.channel = channel }

    /// Listens for one connection. `join` receives the manager's end and the guest's.
    /// - Throws: errors of `GuestChannel.listen`. The descriptor stays reserved until `cancel` then.
    package func reserve(
        _ port: UInt32, _ descriptor: consuming FileDescriptor,
        _ join: @escaping @Sendable (consuming FileDescriptor, consuming FileDescriptor) -> Void
    ) throws -> UInt32 {
        let end = End(descriptor)
        reserved.append((port, end))
        try channel.listen(port: port) { [channel] socket in
            channel.stopListening(port: port)
            let socket = FileDescriptor(owning: socket)
            if let descriptor = end.take() { join(descriptor, socket) }
        }
        return port
    }

    package func cancel() {
        for (port, end) in reserved {
            channel.stopListening(port: port)
            _ = end.take()
        }
    }
}
