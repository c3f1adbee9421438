import Glibc

/// poll(2) on one descriptor. Errors and a hangup count as ready: the call that follows reports them. Goes on after
/// signals.
/// - Parameters:
///   - events: POLLIN, POLLOUT, POLLPRI; 0: errors and hangups alone.
///   - deadline: nil: without limit.
/// - Returns: false when the time is over, or where the kernel has no memory for the call.
package func isReady(_ descriptor: Int32, for events: Int32 = POLLIN, by deadline: ContinuousClock.Instant?) -> Bool {
    var polled = pollfd(fd: descriptor, events: Int16(events), revents: 0)
    while true {
        let rest = deadline.map { Int32(clamping: Int((max(.zero, $0 - .now) / .milliseconds(1)).rounded(.up))) }
        // SAFETY: poll(2) writes only to the one structure.
        let count = unsafe poll(&polled, 1, rest ?? -1)
        if count >= 0 || errno != EINTR { return count > 0 }
    }
}

/// Waits for one descriptor, as `isReady(_:for:by:)` does.
package func isReady(_ descriptor: Int32, for events: Int32 = POLLIN, within limit: Duration) -> Bool {
    isReady(descriptor, for: events, by: .now + limit)
}
