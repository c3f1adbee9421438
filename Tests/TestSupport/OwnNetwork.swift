import Glibc
import LinuxKernel

/// Runs a body on a thread in a new network namespace, which ends with the thread.
package func inOwnNetwork(_ body: @escaping @Sendable () throws -> Void) throws {
    let pipe = try Pipe()
    let end = try pipe.writeEnd.duplicate().take()
    nonisolated(unsafe) var failure: (any Error)?
    detachThread("network") {
        do {
            _ = try NetworkNamespace.make()
            try body()
        } catch { failure = error }
        var byte: UInt8 = 1
        _ = write(end, &byte, 1)
        close(end)
    }
    var byte: UInt8 = 0
    _ = try check("wait for", "the network's thread") { read(pipe.readEnd.raw, &byte, 1) }
    if let failure { throw failure }
}
