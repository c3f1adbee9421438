import LinuxKernel

/// A kind of file system by which the guest sees one directory of the host, with the settings of one sandbox.
package protocol SharedFileSystem: Sendable {
    /// The agent's name for it, such as `virtio-fs` (Kata's storage drivers).
    var driver: String { get }
    /// The file system type that the guest mounts (mount(2)).
    var fileSystemType: String { get }
    /// The name of its server, for the ledger, logs and errors, such as `virtiofsd`.
    var serverName: String { get }
    /// Inputs for the machine's fingerprint: the program's path first.
    var words: [String] { get }

    /// Serves `directory` to one guest.
    /// - Parameters:
    ///   - socketPath: the socket to which the hypervisor connects.
    ///   - log: receives what the server writes.
    ///   - admit: called with the new process before it executes the program; an error ends the process.
    /// - Throws: `SystemError` when the program or the socket can't be used; errors of `admit`.
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
    /// Whether a signal has stopped the server: the guest's requests wait then.
    var isHalted: Bool { get }
    /// Ends it at once. Idempotent.
    func stop()
}
