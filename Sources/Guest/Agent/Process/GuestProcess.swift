import Container
import Glibc
import LinuxKernel
import Synchronization

import protocol NIOCore.EventLoop

/// A process of a container, from its init to its exit.
final class GuestProcess: Sendable {
    let pid: pid_t
    let streams: ProcessStreams
    private let syncSocket: SyncSocket
    private let errorPage: FileDescriptor
    private let exit = OneShot<Int32>()

    private struct LastAct: Sendable {
        var body: (@Sendable () -> Void)?
        var isDue = false
    }
    private let lastAct = Mutex(LastAct())

    /// - Parameters:
    ///   - syncSocket: to the process's init, which waits for the go-ahead.
    ///   - errorPage: where the init writes an error that it can't send.
    init(
        pid: pid_t, syncSocket: consuming SyncSocket, errorPage: consuming FileDescriptor, streams: ProcessStreams
    ) {
        self.pid = pid
        self.syncSocket = syncSocket
        self.errorPage = errorPage
        self.streams = streams
    }

    /// Lets the init execute its program. Blocks until the program runs.
    /// - Parameter hookSeconds: the time that hooks which run before the program may take.
    /// - Throws: `InitError` with the init's own words, or `SystemError`.
    func start(hookSeconds: Int = 0) throws {
        syncSocket.setLimit(Deadline.stage.limit + .seconds(hookSeconds))
        try syncSocket.sendGo()
        switch syncSocket.next() {
        case .failure(let text): throw InitError(text: text)
        default:
            let text = ErrorPage.read(errorPage)
            guard text.isEmpty else { throw InitError(text: text) }
        }
    }

    /// Sends a signal; does nothing once the process has ended.
    func signal(_ number: Int32) throws(SystemError) {
        guard status == nil else { return }
        if kill(pid, number) != 0, errno != ESRCH { throw SystemError("signal", "process \(pid)", errno: errno) }
    }

    // MARK: Exit

    /// The exit status, 128+n for signal n; nil while the process runs.
    var status: Int32? { exit.value }

    /// Calls `body` when the process has ended, before anybody learns its exit status; at once if it has ended already.
    func beforeExitIsReported(_ body: @escaping @Sendable () -> Void) {
        let isDue = lastAct.withLock { act in
            if !act.isDue { act.body = body }
            return act.isDue
        }
        if isDue { body() }
    }

    /// Takes the exit status from the reaper.
    func hasExited(_ status: Int32) {
        let body = lastAct.withLock { act in
            act.isDue = true
            return act.body.take()
        }
        body?()
        streams.hasExited()
        exit.complete(status)
    }

    /// Suspends until the process has ended and its output has been sent to the host.
    func wait(on loop: any EventLoop) async -> Int32 {
        let status = await exit.wait()
        await streams.drain(on: loop)
        return status
    }
}
