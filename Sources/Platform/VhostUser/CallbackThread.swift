import LinuxKernel

/// A thread that runs the callbacks of the device's users.
///
/// The device's own thread can't: its filter allows few system calls, and a slow callback must not stop the guest's
/// other streams.
final class CallbackThread: Sendable {
    /// The maximum number of waiting calls, each with a new stream.
    static let maxCalls = 256

    /// The calls; nil ends the thread.
    private let inbox: Inbox<(@Sendable () -> Void)?>

    init() throws(SystemError) {
        inbox = try Inbox()
        try startThread("vsock-calls") { [self] in run() }
    }

    /// Whether a guest opens streams faster than their callbacks run; it is refused new ones then.
    var isFull: Bool { inbox.count >= Self.maxCalls }

    func add(_ call: @escaping @Sendable () -> Void) { inbox.send([call]) }

    /// Ends the thread after all waiting calls.
    func end() { inbox.send([nil]) }

    private func run() {
        var polled = PollSet<Void>()
        polled.add(inbox.descriptor, for: ())
        while true {
            polled.wait(nil)
            // Nothing of a call is kept while the thread waits.
            guard let calls = inbox.take() else { return }
            for call in calls {
                guard let call else { return }
                call()
            }
        }
    }
}
