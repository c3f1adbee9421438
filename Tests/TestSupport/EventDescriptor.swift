import Glibc
import LinuxKernel

/// An eventfd, as QEMU makes them for kicks and calls. Swift's C library doesn't show the call (eventfd(2)).
package func eventDescriptor(_ flags: Int32 = O_NONBLOCK | O_CLOEXEC) throws -> SharedDescriptor {
    typealias Call = @convention(c) (UInt32, Int32) -> Int32
    guard let symbol = dlsym(nil, "eventfd") else { throw SystemError("find", "eventfd", errno: ENOSYS) }
    // SAFETY: this is the signature of eventfd(2).
    let call = unsafeBitCast(symbol, to: Call.self)
    return SharedDescriptor(FileDescriptor(owning: try check("make", "eventfd") { call(0, flags) }))
}
