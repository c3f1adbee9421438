import CLinux
import Glibc
import LinuxKernel
import Synchronization

/// A single-threaded copy of the agent, forked before the agent has threads. Every process of a container begins as a
/// copy of it.
///
/// The copies skip Swift's start-up and inherit its caches of a plan's types (docs/decisions/0002).
package final class Zygote: Sendable {
    private let socket: Mutex<FileDescriptor>

    /// A message to the zygote; descriptors come along.
    struct Request: Equatable {
        /// The init of the process to make; nil makes none.
        var role: UInt8?
        /// CLONE_NEW* flags of the new process.
        var namespaces: UInt64 = 0
        /// The new process's number for each descriptor but the last, which is the cgroup's directory.
        var targets: [Int32] = []
        /// A plan to decode for warm-up only.
        var warmUp: ContainerPlan?
    }

    /// Forks the zygote. The caller must have one thread only.
    /// - Parameter limit: the time that a start may take.
    /// - Throws: `SystemError` when the socket pair can't be made, or with the errno of fork(2).
    package init(limit: Duration) throws(SystemError) {
        let ends = try SocketPair()
        if try checkNegativeErrno("fork", "the zygote", clx_fork()) == 0 { Self.serve(ends.keepingTheirs()) }
        let ours = ends.keepingOurs()
        ours.setReadLimit(limit)
        socket = Mutex(ours)
    }

    /// Starts a process: a child of the agent, in a new session.
    /// - Parameters:
    ///   - cgroup: path of the cgroup v2 directory that the process begins in.
    ///   - namespaces: CLONE_NEW* flags (clone(2)).
    ///   - descriptors: of the agent, by their numbers in the process. Standard streams that are left out are
    ///     /dev/null.
    /// - Returns: the process's pid.
    /// - Throws: `SystemError` when /dev/null or the cgroup can't be opened, or with the errno of clone3(2), such as
    ///   EAGAIN at a limit of processes. Also when the zygote has ended or doesn't answer in time: nothing can start
    ///   afterwards.
    package func start(
        _ role: ContainerInit, in cgroup: String, namespaces: UInt64 = 0, descriptors: [Int32: Int32]
    ) throws(SystemError) -> pid_t {
        let null = try FileDescriptor.open("/dev/null", O_RDWR)
        let group = try FileDescriptor.open(cgroup, O_RDONLY | O_DIRECTORY)
        var table = descriptors
        for standard in Int32(0)...2 where table[standard] == nil { table[standard] = null.raw }
        let targets = table.keys.sorted()
        let request = Request(role: role.rawValue, namespaces: namespaces, targets: targets)
        let pid = try ask(request, targets.compactMap { table[$0] } + [group.raw])
        guard pid > 0 else {
            // EAGAIN: the limit of the cgroup or of the guest (clone(2), cgroups(7)).
            let cause = pid == -EAGAIN ? " (is linux.resources.pids.limit reached?)" : ""
            throw SystemError("make", "a process of the container" + cause, errno: -pid)
        }
        return pid
    }

    /// Lets the zygote decode a plan, which takes longer the first time.
    package func warmUp(_ plan: ContainerPlan) {
        _ = try? ask(Request(warmUp: plan), [])
    }

    private func ask(_ request: Request, _ descriptors: [Int32]) throws(SystemError) -> Int32 {
        try socket.withLock { socket throws(SystemError) in
            var answer: Int32 = 0
            do throws(SystemError) {
                try socket.send(PlanCoder.write(request), descriptors: descriptors)
                // SAFETY: recv(2) writes at most the four bytes of `answer`.
                let count = try check("read", "its answer") { unsafe recv(socket.raw, &answer, 4, 0) }
                guard count == 4 else { throw SystemError("read", "its answer", errno: EPIPE) }
            } catch {
                // Use the socket no more: a late answer would be taken for the next one.
                shutdown(socket.raw, Int32(SHUT_RDWR))
                let state = error.code == EPIPE ? " (it has ended: nothing can start in this guest any more)" : ""
                throw SystemError("ask", "the zygote" + state, errno: error.code)
            }
            return answer
        }
    }

    // MARK: The zygote itself

    /// OOM_SCORE_ADJ_MIN (proc_pid_oom_score_adj(5)).
    private static let neverKill = -1000
    private static let maxDescriptors = 16
    private static let maxRequest = 65536

    /// Serves requests until the agent ends.
    private static func serve(_ socket: consuming FileDescriptor) -> Never {
        // Copies inherit this. In a container's namespaces they have its rights, and its processes could trace them
        // otherwise.
        guard clx_set_dumpable(0) == 0 else { _exit(1) }
        // Without the zygote no process can start. Copies set their own score (ProcessSetup).
        try? Files.write("/proc/self/oom_score_adj", "\(neverKill)")
        clearenv()
        while true {
            var descriptors = [Int32](repeating: -1, count: maxDescriptors)
            var count = 0
            // SAFETY: the call writes at most `buffer.count` bytes, and returns how many.
            let (bytes, got) = unsafe readBytes(upTo: maxRequest) { buffer in
                // SAFETY: `count` is the number of elements; the call returns how many it has set.
                unsafe descriptors.withUnsafeMutableBufferPointer {
                    // Again after a signal: the call leaves the number that it has set.
                    count = $0.count
                    return unsafe clx_recv_fds(socket.raw, buffer.baseAddress, buffer.count, $0.baseAddress, &count)
                }
            }
            guard got > 0 else { _exit(0) }
            var answer = perform(PlanCoder.read(Request.self, bytes), Array(descriptors.prefix(count)))
            for descriptor in descriptors.prefix(count) { close(descriptor) }
            // SAFETY: `answer` has the four bytes that are sent.
            guard unsafe send(socket.raw, &answer, 4, Int32(MSG_NOSIGNAL)) == 4 else { _exit(0) }
        }
    }

    /// Returns the new process's pid, or -errno.
    private static func perform(_ request: Request?, _ descriptors: [Int32]) -> Int32 {
        guard let request else { return -EBADMSG }
        guard let number = request.role else { return 0 }
        guard let role = ContainerInit(rawValue: number), let group = descriptors.last,
            descriptors.count == request.targets.count + 1
        else { return -EBADMSG }
        let pid = clx_fork_sibling(request.namespaces, group)
        guard pid == 0 else { return pid }
        let table = zip(descriptors, request.targets).map { clx_fd_mapping(source: $0, target: $1) }
        // SAFETY: the call reads as many mappings as the array has.
        guard unsafe clx_keep_only(table, table.count) == 0 else { _exit(127) }
        clx_reset_signals()
        setsid()
        role.run()
    }
}

extension Zygote.Request: PlanCodable {
    mutating func code(_ coder: inout PlanCoder) {
        coder.code(&role)
        coder.code(&namespaces)
        coder.code(&targets)
        coder.code(&warmUp)
    }
}
