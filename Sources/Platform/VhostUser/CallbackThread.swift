import Glibc
import LinuxKernel
import Synchronization

/// Calls what the device's users gave it. The device's own thread calls nothing: it may make few system calls, a thread that it started could
/// make no others, and whoever holds up a callback does not hold up the guest's other streams.
final class CallbackThread: Sendable {
    /// Calls that may wait, each of them with a new stream.
    private static let longestQueue = 256

    private struct Queue {
        var calls: [@Sendable () -> Void] = []
        var ended = false
    }

    private let queue = Mutex(Queue())
    private let wakeUp: WakeUp

    init() throws(SystemError) {
        wakeUp = try WakeUp()
        try startThread("vsock-calls") { [self] in run() }
    }

    /// A guest that opens streams faster than they are taken has to wait.
    var isFull: Bool { queue.withLock { $0.calls.count >= Self.longestQueue } }

    func add(_ call: @escaping @Sendable () -> Void) {
        queue.withLock { $0.calls.append(call) }
        wakeUp.signal()
    }

    /// Ends the thread once it has made all calls.
    func end() {
        queue.withLock { $0.ended = true }
        wakeUp.signal()
    }

    private func run() {
        while true {
            let (calls, ended) = queue.withLock { queue in
                defer { queue.calls = [] }
                return (queue.calls, queue.ended)
            }
            for call in calls { call() }
            if calls.isEmpty {
                if ended { return }
                var ring = pollfd(fd: wakeUp.descriptor, events: Int16(POLLIN), revents: 0)
                if poll(&ring, 1, -1) > 0 { wakeUp.drain() }
            }
        }
    }
}
