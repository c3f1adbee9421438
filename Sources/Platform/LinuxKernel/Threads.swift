import CLinux
import Glibc

/// Runs `body` on a new detached thread; ends the process when there can be none. For the guest's agent, which can't go
/// on without.
package func detachThread(_ name: String, _ body: @escaping @Sendable () -> Void) {
    do { try startThread(name, body) } catch { fatalError("\(error)") }
}

/// Runs `body` on a new detached thread: for calls that block, such as waiting for a child.
/// - Throws: when the host's limit of threads is reached.
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
    // SAFETY: the attributes are initialized here, and destroyed once, below.
    unsafe pthread_attr_init(&attributes)
    unsafe pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    unsafe pthread_attr_setstacksize(&attributes, 256 << 10)
    // SAFETY: the box stays retained until the thread takes it over, or the failure below releases it.
    let box = unsafe Unmanaged.passRetained(Box(name, body))
    let failed = unsafe pthread_create(
        &thread, &attributes,
        { argument in
            // SAFETY: the box was retained for this thread and is taken over exactly once.
            let box = unsafe Unmanaged<Box>.fromOpaque(argument!).takeRetainedValue()
            // SAFETY: the call only reads the name.
            unsafe clx_set_thread_name(box.name)
            box.body()
            return nil
        }, unsafe box.toOpaque())
    unsafe pthread_attr_destroy(&attributes)
    if failed != 0 {
        // SAFETY: no thread has started that would take the box over.
        unsafe box.release()
        throw SystemError("start thread", name, errno: failed)
    }
}

/// Runs `body` on a new thread and waits for its end: for calls that change the calling thread.
/// - Throws: `SystemError` when the pipe can't be made or the thread can't be started. `body` doesn't run then.
package func runThread(_ name: String, _ body: @escaping @Sendable () -> Void) throws(SystemError) {
    let done = try Pipe()
    let end = done.writeEnd.raw
    try startThread(name) {
        body()
        var byte: UInt8 = 0
        // SAFETY: write(2) reads one byte.
        _ = unsafe write(end, &byte, 1)
    }
    var byte: UInt8 = 0
    // SAFETY: read(2) writes at most one byte.
    while unsafe read(done.readEnd.raw, &byte, 1) < 0, errno == EINTR {}
}

/// Checks that this many more threads can be started (pids.max, RLIMIT_NPROC), by starting them all for a moment.
/// - Throws: `SystemError` of the first thread that can't be started, or for lack of a descriptor.
package func tryThreads(_ count: Int) throws(SystemError) {
    func threads() -> Int { Files.list("/proc/self/task").count }
    let before = threads()
    // The threads read from this pipe until its other end is closed.
    let gate = try Pipe()
    let waiting = SharedDescriptor(try gate.readEnd.duplicate())
    var refusal: SystemError?
    for _ in 0..<count where refusal == nil {
        do {
            try startThread("try") {
                var byte: UInt8 = 0
                // SAFETY: read(2) writes at most one byte.
                _ = unsafe read(waiting.raw, &byte, 1)
            }
        } catch { refusal = error }
    }
    close(gate.writeEnd.take())
    // Waits until they are gone. It polls: only proc(5) shows that a detached thread has left the kernel's count.
    var looks = 0
    while threads() > before, looks < 100 {
        usleep(100)
        looks += 1
    }
    if let refusal { throw refusal }
}

/// Raises the soft limit of descriptors to the hard one (getrlimit(2)).
/// - Throws: when the hard limit is too low.
package func raiseDescriptorLimit(atLeast least: Int) throws(SystemError) {
    // Containers get the limits from before.
    _ = ResourceLimits.inherited
    var limit = rlimit()
    let kind = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
    // SAFETY: getrlimit(2) fills the whole structure.
    try check("look at", "the limit of descriptors") { unsafe getrlimit(kind, &limit) }
    guard limit.rlim_max >= rlim_t(least) else {
        throw SystemError(
            "open what is needed, \(least) descriptors at most, under", "a limit of \(limit.rlim_max) (ulimit -Hn)",
            errno: EMFILE)
    }
    limit.rlim_cur = limit.rlim_max
    // SAFETY: setrlimit(2) only reads the structure.
    try check("raise", "the limit of descriptors") { unsafe setrlimit(kind, &limit) }
}
