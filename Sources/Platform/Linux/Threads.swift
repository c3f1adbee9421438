import CLinux
import Glibc

/// Runs `body` on a detached thread of its own: for calls that block, such as waiting for a child. No thread is no way to go on.
package func detachThread(_ name: String, _ body: @escaping @Sendable () -> Void) {
    do { try startThread(name, body) } catch { fatalError("\(error)") }
}

/// The same, for who can do without: the host may have a limit of threads.
package func startThread(_ name: String, _ body: @escaping @Sendable () -> Void) throws(SystemError) {
    final class Box {
        let name: String
        let body: @Sendable () -> Void
        init(_ name: String, _ body: @escaping @Sendable () -> Void) {
            self.name = name
            self.body = body
        }
    }
    var thread = pthread_t()
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    pthread_attr_setstacksize(&attributes, 256 << 10)
    let box = Unmanaged.passRetained(Box(name, body))
    let failed = pthread_create(
        &thread, &attributes,
        { argument in
            // SAFETY: the box was retained for this thread and is taken over exactly once.
            let box = Unmanaged<Box>.fromOpaque(argument!).takeRetainedValue()
            clx_set_thread_name(box.name)
            box.body()
            return nil
        }, box.toOpaque())
    pthread_attr_destroy(&attributes)
    if failed != 0 {
        box.release()
        throw SystemError("start thread", name, errno: failed)
    }
}

/// Runs `body` on a thread of its own and waits for its end: for calls that change the thread they are made on.
package func runThread(_ name: String, _ body: @escaping @Sendable () -> Void) {
    guard let done = try? Pipe() else { return }
    let end = done.writeEnd.raw
    guard
        (try? startThread(
            name,
            {
                body()
                var byte: UInt8 = 0
                _ = write(end, &byte, 1)
            })) != nil
    else { return }
    var byte: UInt8 = 0
    while read(done.readEnd.raw, &byte, 1) < 0, errno == EINTR {}
}
