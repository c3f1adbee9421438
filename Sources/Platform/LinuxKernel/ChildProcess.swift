import CLinux
import Glibc

/// How a process ended.
package enum ProcessExit: Equatable, Sendable, CustomStringConvertible {
    case exited(Int32)
    case signalled(Int32)

    /// It gave up by itself.
    package var isFailure: Bool {
        if case .exited(let status) = self { return status != 0 }
        return false
    }

    /// The status a shell would show: 128+n for signal n.
    package var status: Int32 {
        switch self {
        case .exited(let status): status
        case .signalled(let signal): 128 + signal
        }
    }

    package var description: String {
        switch self {
        case .exited(let status): "exited with status \(status)"
        case .signalled(let signal): "was killed by signal \(signal)"
        }
    }
}

/// What to start, and with which descriptors: anything not in the table is closed in the child.
package struct Command: Sendable {
    package var executable: String
    /// What the child sees as its own name, and operators in ps(1); the executable's path when nil.
    package var name: String?
    package var arguments: [String]
    package var environment: [String]
    package var directory: String?
    /// Target number in the child → descriptor of ours.
    package var descriptors: [Int32: Int32] = [:]
    package var newSession = false
    /// Killed when the thread that starts it ends, at the latest with this process. Only behind an `admit` is there no gap.
    package var diesWithParent = false
    /// Keeps its parent's limit of core dumps. By default a child dumps none: QEMU, virtiofsd and the shim have a guest's memory mapped.
    package var mayDumpCore = false
    /// The capabilities that the child, and the programs that it executes, can have at most.
    package var bounding = CapabilitySet.all
    /// Without any capability, and without a way to one: a root that owns its files, and no more. Whatever `bounding` says.
    package var withoutPrivileges = false
    /// Whom it runs as; nil: as its parent.
    package var user: ProcessUser?
    /// All that it sees of the host's files, beside its own entries in /proc; nil: what its parent sees.
    package var root: PrivateRoot?
    /// Path of a network namespace to start in (setns(2)).
    package var networkNamespace: String?
    /// Path of a cgroup v2 directory to start in.
    package var cgroup: String?
    /// CLONE_NEW* flags (clone(2)).
    package var newNamespaces: UInt64 = 0

    package init(_ executable: String, _ arguments: [String] = [], environment: [String]? = nil) {
        self.executable = executable
        self.arguments = arguments
        self.environment = environment ?? Command.inheritedEnvironment
    }

    /// Sets a variable of the child's environment; nil takes it away. A name is there once: getenv(3) stops at the first.
    package mutating func set(_ name: String, _ value: String?) {
        environment.removeAll { $0.hasPrefix(name + "=") }
        if let value { environment.append(name + "=" + value) }
    }

    package static var inheritedEnvironment: [String] {
        var result: [String] = []
        guard var entry = clx_environment() else { return result }
        while let text = entry.pointee {
            result.append(String(cString: text))
            entry += 1
        }
        return result
    }
}

/// A running child, held by its pidfd: it can't be mistaken for another process that got its number.
///
/// Unless `mayDumpCore` says so it dumps no core (RLIMIT_CORE). A program with CAP_SYS_RESOURCE, such as a hook, can raise the limit for itself.
package final class ChildProcess: Sendable {
    package let pid: pid_t
    private let pidfd: FileDescriptor

    /// Starts `command`; standard streams not in its table are /dev/null.
    /// - Parameter admit: is told of the child before that executes anything: when this process ends meanwhile, the child does too.
    package init(_ command: Command, admit: ((ProcessIdentity) throws(SystemError) -> Void)? = nil) throws(SystemError)
    {
        let null = try FileDescriptor.open("/dev/null", O_RDWR)
        var table = command.descriptors
        for standard in Int32(0)...2 where table[standard] == nil { table[standard] = null.raw }
        let mappings = table.map { clx_fd_mapping(source: $0.value, target: $0.key) }
        // The child needs some namespace descriptor to join; without one asked for, /dev/null stands in and is not used.
        let namespace = try FileDescriptor.open(command.networkNamespace ?? "/dev/null", O_RDONLY)
        let joined = command.networkNamespace == nil ? -1 : namespace.raw
        let group = try FileDescriptor.open(command.cgroup ?? "/", O_RDONLY | O_DIRECTORY)
        let cgroup = command.cgroup == nil ? -1 : group.raw
        var fd: Int32 = -1
        var stage: UnsafePointer<CChar>?
        let admission = Admission(admit)
        let parts = try command.root?.assemble() ?? []
        let groups = command.user?.groups ?? []
        let pid = withCStrings([command.name ?? command.executable] + command.arguments) { arguments in
            withCStrings(command.environment) { environment in
                withCStrings(parts.map(\.target)) { targets in
                    command.executable.withCString { executable in
                        withOptionalCString(command.directory) { directory in
                            withTables(mappings, parts.map(\.tree.raw), groups) { mappings, trees, groups in
                                var request = clx_spawn(
                                    executable: executable, arguments: arguments, environment: environment,
                                    directory: directory, mappings: mappings.baseAddress, mapping_count: mappings.count,
                                    new_session: command.newSession ? 1 : 0, network_namespace: joined,
                                    cgroup: cgroup, new_namespaces: command.newNamespaces,
                                    dies_with_parent: command.diesWithParent ? 1 : 0,
                                    may_dump_core: command.mayDumpCore ? 1 : 0,
                                    bounding: command.withoutPrivileges ? 0 : command.bounding.bits,
                                    without_privileges: command.withoutPrivileges ? 1 : 0,
                                    trees: trees.baseAddress, targets: targets, tree_count: trees.count,
                                    user: command.user?.user ?? 0, group: command.user?.group ?? 0,
                                    groups: groups.baseAddress, group_count: groups.count,
                                    admit: admit == nil
                                        ? nil
                                        : { Unmanaged<Admission>.fromOpaque($0!).takeUnretainedValue().decide($1) },
                                    // SAFETY: the admission outlives the call.
                                    context: Unmanaged.passUnretained(admission).toOpaque())
                                return withExtendedLifetime((admission, parts)) { clx_spawn(&request, &fd, &stage) }
                            }
                        }
                    }
                }
            }
        }
        if let refusal = admission.refusal { throw refusal }
        guard pid > 0 else {
            let step = stage.map { String(cString: $0) } ?? "start"
            throw SystemError(step, command.executable, errno: -pid)
        }
        self.pid = pid
        pidfd = FileDescriptor(owning: fd)
    }

    /// Takes the caller's decision through C and back.
    private final class Admission {
        private let body: ((ProcessIdentity) throws(SystemError) -> Void)?
        private(set) var refusal: SystemError?

        init(_ body: ((ProcessIdentity) throws(SystemError) -> Void)?) { self.body = body }

        func decide(_ pid: pid_t) -> Int32 {
            do throws(SystemError) {
                guard let process = ProcessIdentity(pid) else {
                    throw SystemError("find", "process \(pid)", errno: ESRCH)
                }
                try body?(process)
                return 0
            } catch {
                refusal = error
                return -error.code
            }
        }
    }

    /// Readable once the child has ended (pidfd_open(2)).
    var descriptor: Int32 { pidfd.raw }

    package func signal(_ number: Int32) { _ = clx_pidfd_send_signal(pidfd.raw, number) }

    /// Calls `body`, on a thread that waits for it, when the child has ended. Where there can be no such thread the child is ended: nobody
    /// would learn of its end.
    package func whenEnded(_ thread: String, _ body: @escaping @Sendable (ProcessExit) -> Void) throws(SystemError) {
        do { try startThread(thread) { [self] in body(wait()) } } catch {
            signal(SIGKILL)
            _ = wait()
            throw error
        }
    }

    /// Blocks until the child ends. Called once, on a thread that may wait.
    package func wait() -> ProcessExit {
        var code: Int32 = 0
        var status: Int32 = 0
        guard clx_wait_pidfd(pidfd.raw, &code, &status) == 0 else { return .exited(255) }
        return code == CLD_EXITED ? .exited(status) : .signalled(status)
    }
}

/// A child and the reading end of a pipe that it alone writes to: the end of the pipe is the end of the child's output.
package struct ChildWithOutput: ~Copyable {
    package let process: ChildProcess
    package let output: FileDescriptor

    /// - Parameter targets: the child's descriptors that lead into the pipe.
    package init(_ command: Command, output targets: [Int32]) throws(SystemError) {
        let pipe = try Pipe()
        var command = command
        for target in targets { command.descriptors[target] = pipe.writeEnd.raw }
        process = try ChildProcess(command)
        output = pipe.readEnd
    }
}

/// Calls `body` with a NULL-terminated vector of C strings, valid during the call.
package func withCStrings<Result>(
    _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
    var pointers: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
    pointers.append(nil)
    defer { for pointer in pointers { free(pointer) } }
    return pointers.withUnsafeBufferPointer { body($0.baseAddress!) }
}

private func withTables<A, B, C, Result>(
    _ a: [A], _ b: [B], _ c: [C],
    _ body: (UnsafeBufferPointer<A>, UnsafeBufferPointer<B>, UnsafeBufferPointer<C>) -> Result
) -> Result {
    a.withUnsafeBufferPointer { a in
        b.withUnsafeBufferPointer { b in c.withUnsafeBufferPointer { c in body(a, b, c) } }
    }
}

private func withOptionalCString<Result>(_ text: String?, _ body: (UnsafePointer<CChar>?) -> Result) -> Result {
    guard let text else { return body(nil) }
    return text.withCString(body)
}
