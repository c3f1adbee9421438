import CLinux
import Glibc
import LinuxKernel
import Synchronization

/// A single-threaded copy of the agent, made before that has threads, of which every process of a container begins as a copy.
///
/// Swift's own start-up is behind it, and what it has learnt of a plan's types its copies know (docs/decisions/0002).
package final class Zygote: Sendable {
    private let socket: Mutex<FileDescriptor>

    /// What is asked of it; the descriptors come beside it.
    struct Request: Equatable {
        /// nil: nothing is to be made.
        var stage: UInt8?
        /// CLONE_NEW* flags of the new process.
        var namespaces: UInt64 = 0
        /// The new process's number for each descriptor but the last, which is the cgroup's directory.
        var targets: [Int32] = []
        /// To have been read: nothing comes of it.
        var warmUp: ContainerPlan?
    }

    /// Forks it: the caller has no other thread yet.
    /// - Parameter limit: how long a process may take to be made.
    package init(limit: Duration) throws(SystemError) {
        let ends = try SocketPair()
        if try checkNegativeErrno("fork", "the zygote", clx_fork()) == 0 { Self.serve(ends.keepingTheirs()) }
        let ours = ends.keepingOurs()
        ours.setReadLimit(limit)
        socket = Mutex(ours)
    }

    /// Makes a process, which is the agent's child, and in a session of its own.
    /// - Parameters:
    ///   - cgroup: path of the cgroup v2 directory that it begins in.
    ///   - namespaces: CLONE_NEW* flags (clone(2)).
    ///   - descriptors: its number → one of ours. Standard streams that aren't named are /dev/null.
    package func start(
        _ stage: ContainerInit, in cgroup: String, namespaces: UInt64 = 0, descriptors: [Int32: Int32]
    ) throws(SystemError) -> pid_t {
        let null = try FileDescriptor.open("/dev/null", O_RDWR)
        let group = try FileDescriptor.open(cgroup, O_RDONLY | O_DIRECTORY)
        var table = descriptors
        for standard in Int32(0)...2 where table[standard] == nil { table[standard] = null.raw }
        let targets = table.keys.sorted()
        let request = Request(stage: stage.rawValue, namespaces: namespaces, targets: targets)
        let pid = try ask(request, targets.compactMap { table[$0] } + [group.raw])
        guard pid > 0 else {
            // clone(2), cgroups(7): EAGAIN is the limit of the group, or of the guest.
            let cause = pid == -EAGAIN ? " (is linux.resources.pids.limit reached?)" : ""
            throw SystemError("make", "a process of the container" + cause, errno: -pid)
        }
        return pid
    }

    /// Lets it learn what a plan is made of, which takes longer the first time.
    package func warmUp(_ plan: ContainerPlan) {
        _ = try? ask(Request(warmUp: plan), [])
    }

    private func ask(_ request: Request, _ descriptors: [Int32]) throws(SystemError) -> Int32 {
        try socket.withLock { socket throws(SystemError) in
            var answer: Int32 = 0
            do throws(SystemError) {
                try socket.send(PlanCoder.write(request), descriptors: descriptors)
                let count = try check("read", "its answer") { recv(socket.raw, &answer, 4, 0) }
                guard count == 4 else { throw SystemError("read", "its answer", errno: EPIPE) }
            } catch {
                // An answer that comes late would be taken for the next one's.
                shutdown(socket.raw, Int32(SHUT_RDWR))
                let state = error.code == EPIPE ? " (it has ended: nothing can start in this guest any more)" : ""
                throw SystemError("ask", "the zygote" + state, errno: error.code)
            }
            return answer
        }
    }

    // MARK: The zygote itself

    /// Serves until the agent has ended.
    private static func serve(_ socket: consuming FileDescriptor) -> Never {
        // Its copies inherit it: in a container's namespaces they have the container's rights, and would be open to its processes.
        guard clx_set_dumpable(0) == 0 else { _exit(1) }
        // Without it nothing can be started any more; whatever begins as its copy sets its own (ProcessSetup).
        try? Files.write("/proc/self/oom_score_adj", "-1000")
        clearenv()
        while true {
            var descriptors = [Int32](repeating: -1, count: 16)
            var count = descriptors.count
            let (bytes, got) = readBytes(upTo: 65536) { buffer in
                descriptors.withUnsafeMutableBufferPointer {
                    clx_recv_fds(socket.raw, buffer.baseAddress, buffer.count, $0.baseAddress, &count)
                }
            }
            guard got > 0 else { _exit(0) }
            var answer = perform(PlanCoder.read(Request.self, bytes), Array(descriptors.prefix(count)))
            for descriptor in descriptors.prefix(count) { close(descriptor) }
            guard send(socket.raw, &answer, 4, Int32(MSG_NOSIGNAL)) == 4 else { _exit(0) }
        }
    }

    /// Returns the new process's pid, or -errno.
    private static func perform(_ request: Request?, _ descriptors: [Int32]) -> Int32 {
        guard let request else { return -EBADMSG }
        guard let number = request.stage else { return 0 }
        guard let stage = ContainerInit(rawValue: number), let group = descriptors.last,
            descriptors.count == request.targets.count + 1
        else { return -EBADMSG }
        let pid = clx_fork_sibling(request.namespaces, group)
        guard pid == 0 else { return pid }
        let table = zip(descriptors, request.targets).map { clx_fd_mapping(source: $0, target: $1) }
        guard clx_keep_only(table, table.count) == 0 else { _exit(127) }
        clx_reset_signals()
        setsid()
        stage.run()
    }
}

extension Zygote.Request: PlanCodable {
    mutating func code(_ coder: inout PlanCoder) {
        coder.code(&stage)
        coder.code(&namespaces)
        coder.code(&targets)
        coder.code(&warmUp)
    }
}
