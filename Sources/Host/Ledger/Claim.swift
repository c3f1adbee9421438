import Glibc
import LinuxKernel

/// The right to take a sandbox away, which one process has at a time (flock(2)).
enum Claim {
    /// - Parameters:
    ///   - path: the sandbox's ledger. Where there is none, nobody can claim it.
    ///   - body: is not called where another process has taken the sandbox away meanwhile.
    static func hold(_ path: String, _ body: () -> Void) {
        let file: FileDescriptor
        do { file = try FileDescriptor.open(path, O_RDONLY) } catch {
            if error.code == ENOENT { body() }
            return
        }
        // Who has it may have been stopped by a signal.
        let limit = ContinuousClock.now + Deadline.claim.limit
        while flock(file.raw, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK || errno == EINTR, .now < limit {
            usleep(5000)
        }
        var (own, there) = (stat(), stat())
        if fstat(file.raw, &own) == 0, stat(path, &there) == 0, own.st_ino == there.st_ino, own.st_dev == there.st_dev {
            body()
        }
        // Kept until here.
        flock(file.raw, LOCK_UN)
    }
}
