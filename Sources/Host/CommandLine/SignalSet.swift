import Glibc

/// A set of signals that are blocked and waited for (sigsetops(3)).
struct SignalSet: Sendable {
    private var set = sigset_t()

    init(_ signals: [Int32]) {
        // SAFETY: the calls only write to `set`.
        unsafe sigemptyset(&set)
        for signal in signals { unsafe sigaddset(&set, signal) }
    }

    /// Blocks the signals in the calling thread and in those that it starts.
    func block() {
        // SAFETY: the call only reads its copy of the set.
        _ = unsafe withUnsafePointer(to: set) { unsafe pthread_sigmask(SIG_BLOCK, $0, nil) }
    }

    /// Blocks the calling thread until one of the signals comes.
    func wait() -> Int32 {
        var number: Int32 = 0
        // SAFETY: the call reads its copy of the set, and writes to `number`.
        while (unsafe withUnsafePointer(to: set) { unsafe sigwait($0, &number) }) != 0 {}
        return number
    }
}
