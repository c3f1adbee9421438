import CLinux
import Glibc
import LinuxKernel
import Synchronization

/// Runs `body` on a thread in a new mount namespace, where it may change mounts and root. Needs root.
package func inOwnMounts<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) throws -> Result {
    let holder = Holder<Result>()
    try runThread("own mounts") {
        let result = Swift.Result {
            try checkNegativeErrno("make", "mount namespace", clx_unshare(Int32(clx_new_mount.rawValue)))
            try check("set propagation of", "/") { mount(nil, "/", nil, UInt(MS_PRIVATE) | UInt(MS_REC), nil) }
            return try body()
        }
        holder.value.withLock { $0 = result }
    }
    guard let result = holder.value.withLock({ $0 }) else { throw SystemError("run", "thread", errno: ESRCH) }
    return try result.get()
}

private final class Holder<Result: Sendable>: Sendable {
    let value = Mutex<Swift.Result<Result, any Error>?>(nil)
}
