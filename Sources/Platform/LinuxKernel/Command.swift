import CLinux
import Glibc

/// A program to start. The child closes every descriptor that is not in `descriptors`.
package struct Command: Sendable {
    package var executable: String
    /// argv[0], which ps(1) shows; nil: the executable's path.
    package var name: String?
    package var arguments: [String]
    package var environment: [String]
    package var directory: String?
    /// Maps numbers in the child to descriptors of this process.
    package var descriptors: [Int32: Int32] = [:]
    package var newSession = false
    /// Kills the child when the thread that started it ends (PR_SET_PDEATHSIG). Without `admit`, a parent that dies
    /// during the start leaves the child behind.
    package var diesWithParent = false
    /// Inherits the limit of core dumps. By default a child dumps none: hypervisor, virtiofsd and the shim map a guest's
    /// memory.
    package var mayDumpCore = false
    /// The bounding set of capabilities of the child and of the programs that it executes.
    package var bounding = CapabilitySet.all
    /// Starts the child without capabilities and with no_new_privs, whatever `bounding` is: root can then only use its
    /// own files.
    package var withoutPrivileges = false
    /// The child's user and groups; nil: inherit.
    package var user: ProcessUser?
    /// The files that the child sees, beside its own entries in /proc; nil: the same files as its parent.
    package var root: PrivateRoot?
    /// Path of a network namespace to start in (setns(2)).
    package var networkNamespace: String?
    /// Path of a cgroup v2 directory to start in.
    package var cgroup: String?
    /// Executes no program: see `idle(named:report:)`.
    package private(set) var isIdle = false
    /// CLONE_NEW* flags (clone(2)).
    package var newNamespaces: UInt64 = 0

    package init(_ executable: String, _ arguments: [String] = [], environment: [String]? = nil) {
        self.executable = executable
        self.arguments = arguments
        self.environment = environment ?? Command.inheritedEnvironment
    }

    /// A child that executes no program and only waits, in a few pages of memory. It has no privileges, and dies with
    /// the thread that starts it. The first process of a pid namespace also reaps its orphans.
    /// - Parameters:
    ///   - name: what ps(1) shows.
    ///   - report: gets the number of each signal that the child is sent, a byte each; SIGKILL, SIGSTOP and SIGCHLD
    ///     are not reported. Without a reader the child ends with the next signal.
    package static func idle(named name: String, report: Int32) -> Command {
        var command = Command("/proc/self/exe", environment: [])
        (command.name, command.isIdle) = (name, true)
        command.descriptors = [3: report]
        command.newSession = true
        command.diesWithParent = true
        command.withoutPrivileges = true
        return command
    }

    /// Sets a variable of the child's environment, or removes it when `value` is nil. Keeps one entry per name, as
    /// getenv(3) reads the first.
    package mutating func set(_ name: String, _ value: String?) {
        environment.removeAll { $0.hasPrefix(name + "=") }
        if let value { environment.append(name + "=" + value) }
    }

    package static var inheritedEnvironment: [String] {
        var result: [String] = []
        // SAFETY: environ(7) ends with NULL, each text with NUL; no thread changes the environment.
        guard var entry = unsafe clx_environment() else { return result }
        while let text = unsafe entry.pointee {
            unsafe result.append(String(cString: text))
            unsafe entry += 1
        }
        return result
    }
}
