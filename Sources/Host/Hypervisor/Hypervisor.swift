import LinuxKernel
import Streams

import protocol NIOCore.EventLoop

/// A program that runs virtual machines: one kind, with the settings of one sandbox.
///
/// Everything outside this protocol is the same for all kinds. The abilities of a kind are data (`Capabilities`), not
/// methods that throw.
package protocol Hypervisor: Sendable {
    /// The name for logs and errors.
    var name: String { get }
    /// Path of the program.
    var executable: String { get }
    var capabilities: Capabilities { get }
    /// The executor of the guest's instructions on this host.
    var acceleration: Acceleration { get }
    /// The reason why that executor can't run guests here, in one line; nil when it can. Asks the host.
    var unusableReason: String? { get }

    /// The memory that the program takes beside its guest's, in MiB.
    var ownMemoryMiB: Int { get }

    /// Starts a machine. It runs when this returns; the guest's kernel begins to run.
    /// - Parameters:
    ///   - logs: keeps the console and the program's own output.
    ///   - memory: a file with a template's memory, for `Memory.saved`.
    ///   - admit: called with the new process before it executes the program; an error ends the process.
    /// - Throws: `SystemError` when a file or the program can't be used; errors of `admit`.
    func start(
        _ configuration: VMConfiguration, logs: BoundedLogs, memory: Int32?, on loop: any EventLoop,
        admit: @escaping (ProcessIdentity) throws(SystemError) -> Void
    ) async throws -> any VirtualMachine

    /// The fingerprint of a machine with this configuration.
    /// - Parameters:
    ///   - helpers: arguments of the helpers started beside it; an argument that is a file's path counts as a file
    ///   too.
    ///   - version: this program's version.
    func fingerprint(of configuration: VMConfiguration, helpers: [String], version: String) -> VMFingerprint

    /// The likely reason why a machine did not start, or ended.
    /// - Returns: one line with the remedy; nil where the kind knows none.
    func cause(of failure: VMFailure, _ configuration: VMConfiguration) -> String?
}

/// The executor of the guest's instructions.
package struct Acceleration: Sendable, Equatable {
    /// The name in the configuration.
    package let name: String
    /// False: the guest is emulated, and some ten times slower.
    package let isHardware: Bool
    /// The reason for the choice, in one line.
    package let reason: String

    package init(name: String, isHardware: Bool, reason: String) {
        (self.name, self.isHardware, self.reason) = (name, isHardware, reason)
    }
}

/// The known facts about a machine that failed.
package struct VMFailure: Sendable {
    /// The end of the process; nil while it runs.
    package var exit: ProcessExit?
    /// The last lines that the program and its helpers wrote to standard error.
    package var messages: [String]

    package init(exit: ProcessExit?, messages: [String]) { (self.exit, self.messages) = (exit, messages) }
}
