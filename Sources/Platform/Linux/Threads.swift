import Glibc

/// Runs `body` on a detached thread of its own: for calls that block, such as waiting for a child.
package func detachThread(_ name: String, _ body: @escaping @Sendable () -> Void) {
    final class Box {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var thread = pthread_t()
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    pthread_attr_setstacksize(&attributes, 256 << 10)
    let box = Unmanaged.passRetained(Box(body))
    let failed = pthread_create(
        &thread, &attributes,
        { argument in
            // SAFETY: the box was retained for this thread and is taken over exactly once.
            Unmanaged<Box>.fromOpaque(argument!).takeRetainedValue().body()
            return nil
        }, box.toOpaque())
    pthread_attr_destroy(&attributes)
    if failed != 0 {
        box.release()
        fatalError("cannot start thread \(name): \(SystemError.text(of: failed))")
    }
}
