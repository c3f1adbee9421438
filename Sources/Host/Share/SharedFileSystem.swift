import LinuxKernel

/// A way in which the guest gets one directory of the host: a kind, with the settings of one sandbox.
package protocol SharedFileSystem: Sendable {
    /// The agent's name for it, such as `virtio-fs` (Kata's storage drivers).
    var driver: String { get }
    /// What the guest mounts (mount(2), filesystemtype).
    var fileSystemType: String { get }
    /// What a machine with it is made from, for its fingerprint: the program's path first.
    var words: [String] { get }

    /// Serves `directory` to one guest.
    /// - Parameters:
    ///   - socketPath: where the hypervisor connects.
    ///   - log: receives what the server writes.
    ///   - admit: is called with the new process before it executes the program; an error ends the process.
    /// - Throws: `SystemError` where the program or the socket can't be used; whatever `admit` throws.
    func start(
        exporting directory: String, socketPath: String, log: borrowing FileDescriptor,
        admit: @escaping (ProcessIdentity) throws(SystemError) -> Void
    ) throws -> any FileServer
}

/// A running server of shared files.
package protocol FileServer: AnyObject, Sendable {
    /// For logs and errors, such as `virtiofsd`.
    var name: String { get }
    func waitForExit() async -> ProcessExit
    /// Its processes on the host.
    var processes: [Int32] { get }
    /// A signal has stopped it: what the guest asks of its files waits.
    var isHalted: Bool { get }
    /// Ends it at once. Idempotent.
    func stop()
}
