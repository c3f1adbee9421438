import Glibc
import LinuxKernel

/// A lock on a sandbox's ledger: one process at a time cleans a sandbox up (flock(2)).
enum CleanupLock {
    /// Calls `body` with the lock held. Doesn't call it when another process has cleaned the sandbox up meanwhile.
    /// - Parameter path: the ledger's file. A missing file needs no lock.
    static func hold(_ path: String, _ body: () -> Void) {
        let file: FileDescriptor
        do { file = try FileDescriptor.open(path, O_RDONLY) } catch {
            if error.code == ENOENT { body() }
            return
        }
        // Goes on without the lock after the deadline: its holder may be stopped by a signal. It polls: flock(2) has no
        // limit of time.
        let limit = ContinuousClock.now + Deadline.cleanupLock.limit
        while flock(file.raw, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK || errno == EINTR, .now < limit {
            usleep(5000)
        }
        var (own, there) = (stat(), stat())
        // SAFETY: the calls fill one whole structure each, and stat(2) reads the path.
        if unsafe fstat(file.raw, &own) == 0, unsafe stat(path, &there) == 0, own.st_ino == there.st_ino,
            own.st_dev == there.st_dev
        {
            body()
        }
        // Keeps the file open until here.
        flock(file.raw, LOCK_UN)
    }
}
