import Glibc
import LinuxKernel
import Synchronization

/// Runs a body on a thread in a new network namespace, which ends with the thread.
package func inOwnNetwork(_ body: @escaping @Sendable () throws -> Void) throws {
    try inNetwork(nil, body)
}

/// Runs a body on a thread in a network namespace; nil: a new one.
package func inNetwork(_ namespace: NetworkNamespace?, _ body: @escaping @Sendable () throws -> Void) throws {
    let pipe = try Pipe()
    let end = try pipe.writeEnd.duplicate().take()
    let outcome = Mutex(Result<Void, any Error>.success(()))
    detachThread("network") {
        let result = Result {
            if let namespace { try namespace.enter() } else { _ = try NetworkNamespace.make() }
            try body()
        }
        outcome.withLock { $0 = result }
        var byte: UInt8 = 1
        _ = write(end, &byte, 1)
        close(end)
    }
    var byte: UInt8 = 0
    _ = try check("wait for", "the network's thread") { read(pipe.readEnd.raw, &byte, 1) }
    try outcome.withLock { try $0.get() }
}

extension NetworkNamespace {
    /// A new network namespace, which lives as long as the object.
    package static func forTest() throws -> NetworkNamespace {
        let made = Mutex<NetworkNamespace?>(nil)
        try inOwnNetwork {
            let namespace = try NetworkNamespace.open("/proc/thread-self/ns/net")
            made.withLock { $0 = namespace }
        }
        guard let namespace = made.withLock(\.self) else {
            throw SystemError("make", "network namespace", errno: EINVAL)
        }
        return namespace
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
