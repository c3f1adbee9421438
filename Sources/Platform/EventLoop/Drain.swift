import LinuxKernel
import NIOCore
import Synchronization

/// Returns when all streams have ended, when nothing has moved for `quiet`, or after `limit`.
///
/// A process that has ended may leave children that hold its output open: the end of file alone may never come.
package func drained(
    _ streams: [StreamRelay.Handle], quiet: Duration, limit: Duration, on loop: any EventLoop
) async {
    if streams.isEmpty { return }
    let promise = loop.makePromise(of: Void.self)
    let open = Mutex(streams.count)
    let deadline = NIODeadline.now() + TimeAmount(limit)
    let moved = Mutex(-1)
    let timer = loop.scheduleRepeatedTask(initialDelay: TimeAmount(quiet), delay: TimeAmount(quiet)) { _ in
        let now = streams.reduce(0) { $0 + $1.moved }
        let before = moved.withLock { moved in
            defer { moved = now }
            return moved
        }
        if now == before || .now() > deadline { promise.succeed() }
    }
    for stream in streams {
        stream.whenEnded {
            let left = open.withLock { open in
                open -= 1
                return open
            }
            if left == 0 { promise.succeed() }
        }
    }
    try? await promise.futureResult.get()
    timer.cancel()
}
