import Glibc
import LinuxKernel
import Synchronization

/// A thread that runs the callbacks of the device's users.
///
/// The device's own thread can't: its filter allows few system calls, and a slow callback must not stop the guest's
/// other streams.
final class CallbackThread: Sendable {
    /// The maximum number of waiting calls, each with a new stream.
    private static let maxCalls = 256

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

    /// Whether a guest opens streams faster than their callbacks run; it is refused new ones then.
    var isFull: Bool { queue.withLock { $0.calls.count >= Self.maxCalls } }

    func add(_ call: @escaping @Sendable () -> Void) {
        queue.withLock { $0.calls.append(call) }
        wakeUp.signal()
    }

    /// Ends the thread after all waiting calls.
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
                var polled = pollfd(fd: wakeUp.descriptor, events: Int16(POLLIN), revents: 0)
                if unsafe poll(&polled, 1, -1) > 0 { wakeUp.drain() }
            }
        }
    }
}
