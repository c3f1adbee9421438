import Glibc
import LinuxKernel

/// Runs a body on a thread in a new network namespace, which ends with the thread.
package func inOwnNetwork(_ body: @escaping @Sendable () throws -> Void) throws {
    try inNetwork(nil, body)
}

/// Runs a body on a thread in a network namespace; nil: a new one.
package func inNetwork(_ namespace: NetworkNamespace?, _ body: @escaping @Sendable () throws -> Void) throws {
    let pipe = try Pipe()
    let end = try pipe.writeEnd.duplicate().take()
    nonisolated(unsafe) var failure: (any Error)?
    detachThread("network") {
        do {
            if let namespace { try namespace.enter() } else { _ = try NetworkNamespace.make() }
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

extension NetworkNamespace {
    /// A new network namespace, which lives as long as the object.
    package static func forTest() throws -> NetworkNamespace {
        nonisolated(unsafe) var made: NetworkNamespace?
        try inOwnNetwork { made = try NetworkNamespace.open("/proc/thread-self/ns/net") }
        guard let made else { throw SystemError("make", "network namespace", errno: EINVAL) }
        return made
    }

    /// Runs a shell script in the namespace, such as commands of ip(8), up to the first that fails.
    package func shell(_ script: String) throws {
        var command = Command("/bin/sh", ["-exc", script])
        command.networkNamespace = path
        let child = try ChildWithOutput(command, output: [1, 2])
        var text: [UInt8] = []
        while true {
            let (bytes, count) = readBytes(upTo: 4096) { read(child.output.raw, $0.baseAddress, $0.count) }
            guard count > 0 else { break }
            text += bytes
        }
        let exit = child.process.wait()
        guard exit == .exited(0) else { throw ScriptError(description: String(decoding: text, as: UTF8.self)) }
    }

    package struct ScriptError: Error, CustomStringConvertible { package let description: String }

    /// Whether there is a program to set networks up with.
    package static let hasTools = getuid() == 0 && ["/usr/sbin/ip", "/sbin/ip"].contains(where: Files.exists)
}
