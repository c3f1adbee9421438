import LinuxKernel
import Streams

import protocol NIOCore.EventLoop

/// A program that runs virtual machines: one kind, with the settings of one sandbox.
///
/// Everything outside this protocol is the same for all kinds. What a kind can do is data (`Capabilities`), not a method that throws.
package protocol Hypervisor: Sendable {
    /// The name for logs and errors, such as `QEMU`.
    var name: String { get }
    /// Path of the program.
    var executable: String { get }
    var capabilities: Capabilities { get }
    /// What runs the guest's instructions on this host.
    var acceleration: Acceleration { get }

    /// Starts a machine. It runs when this returns; the guest's kernel begins to.
    /// - Parameters:
    ///   - logs: keeps the console and what the program itself says.
    ///   - memory: a file with a saved machine's memory, for `Memory.saved`.
    ///   - admit: is called with the new process before it executes the program; an error ends the process.
    /// - Throws: `SystemError` where a file or the program can't be used; whatever `admit` throws.
    func start(
        _ configuration: VMConfiguration, logs: BoundedLogs, memory: Int32?, on loop: any EventLoop,
        admit: @escaping (ProcessIdentity) throws(SystemError) -> Void
    ) async throws -> any VirtualMachine

    /// What a machine of this configuration is made from.
    /// - Parameters:
    ///   - helpers: words of what is started beside it; one that is a file's path counts as a file too.
    ///   - version: of this program.
    func fingerprint(of configuration: VMConfiguration, helpers: [String], version: String) -> VMFingerprint

    /// The likely reason why a machine did not start, or ended.
    /// - Returns: one line that says what to do; nil where the kind knows nothing.
    func cause(of failure: VMFailure, _ configuration: VMConfiguration) -> String?
}

/// What runs the guest's instructions.
package struct Acceleration: Sendable, Equatable {
    /// As the configuration names it.
    package let name: String
    /// False: the guest is emulated, and some ten times slower.
    package let isHardware: Bool
    /// Why it was chosen, in one line.
    package let reason: String

    package init(name: String, isHardware: Bool, reason: String) {
        (self.name, self.isHardware, self.reason) = (name, isHardware, reason)
    }
}

/// What is known of a machine that failed.
package struct VMFailure: Sendable {
    /// nil while it runs.
    package var exit: ProcessExit?
    /// The last lines that the program itself, and its helpers, wrote to standard error.
    package var messages: [String]

    package init(exit: ProcessExit?, messages: [String]) { (self.exit, self.messages) = (exit, messages) }
}
