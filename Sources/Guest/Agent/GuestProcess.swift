import CLinux
import Container
import Deadlines
import EventLoop
import Glibc
import Linux
import Synchronization

import protocol NIOCore.EventLoop

/// A process of a container, from its first stage to its exit.
final class GuestProcess: Sendable {
    let pid: pid_t
    let terminal: Bool
    private let sync: SyncSocket
    private let lastWords: FileDescriptor

    private struct Facts: Sendable {
        var status: Int32?
        var waiters: [CheckedContinuation<Int32, Never>] = []
        var outputs: [StreamRelay.Handle] = []
        var input: StreamRelay.Handle?
        /// The terminal's master, or the pipe ends of clients that read and write by RPC; -1 when there is none.
        var master: Int32 = -1
        var stdin: Int32 = -1
        var stdout: Int32 = -1
        var stderr: Int32 = -1
    }
    private let facts = Mutex(Facts())
    private let relay: StreamRelay

    /// vsock ports of the host, 0 for none.
    struct Ports: Sendable {
        var stdin: UInt32 = 0
        var stdout: UInt32 = 0
        var stderr: UInt32 = 0
    }

    /// Which ids a new user namespace has; only a process outside of it may say so.
    struct UserMaps: Sendable {
        var users = ""
        var groups = ""

        func write(of pid: pid_t) throws(SystemError) {
            try Files.write("/proc/\(pid)/uid_map", users)
            try Files.write("/proc/\(pid)/gid_map", groups)
        }
    }

    enum Launch: Sendable {
        case container(ContainerPlan)
        /// Joins the container of the process `target`.
        case exec(ExecPlan, target: pid_t, cgroup: String)
    }

    /// What a launch asks of the zygote, and tells the stage.
    private final class Order {
        let stage: Stage
        let process: ProcessPlan
        /// Path of the cgroup that it begins in.
        let group: String
        let document: [UInt8]
        private(set) var namespaces: UInt64 = 0
        private(set) var userMaps = UserMaps()
        private(set) var descriptors: [Int32: Int32] = [:]

        init(_ launch: Launch) throws(SystemError) {
            switch launch {
            case .container(let plan):
                (stage, process, document) = (.container, plan.process, plan.passed)
                group = Cgroup(plan.cgroup).path
                if plan.namespaces.isOneClone { namespaces = plan.namespaces.new }
                userMaps = UserMaps(users: plan.namespaces.userMap, groups: plan.namespaces.groupMap)
            case .exec(let plan, let first, let cgroup):
                (stage, process, document) = (.exec, plan.process, plan.passed)
                group = Cgroup(cgroup).joinable(beside: first).path
                descriptors[Stage.targetNumber] = try checkNegated("find", "process \(first)", clx_pidfd_open(first))
            }
        }

        deinit { for descriptor in descriptors.values { close(descriptor) } }
    }

    /// Starts the stage and waits until it has done everything but the exec. Blocks.
    /// - Parameter filter: of system calls, compiled once for all processes of a container.
    init(_ launch: Launch, in guest: Guest, filter: SeccompFilter?, ports: Ports) throws {
        let reaper = guest.reaper
        relay = guest.relay
        let order = try Order(launch)
        let process = order.process
        terminal = process.terminal
        let words = try LastWords.make()
        var theirs: Int32 = -1
        let conversation = try SyncSocket(timeoutSeconds: Deadline.stage.seconds, theirs: &theirs)
        var table = order.descriptors
        table[SyncSocket.number] = theirs
        table[LastWords.number] = words.raw
        var ours = Facts()
        var streams = Set<Int32>()
        defer { for stream in streams { close(stream) } }
        if !process.terminal {
            // Each pipe: the process's end goes after the start, ours stays.
            for standard in Int32(0)...2 {
                var ends: [Int32] = [-1, -1]
                try checkNegated("create", "pipe", clx_pipe(&ends, 0))
                let (theirs, mine) = standard == 0 ? (ends[0], ends[1]) : (ends[1], ends[0])
                table[standard] = theirs
                streams.insert(theirs)
                switch standard {
                case 0: ours.stdin = mine
                case 1: ours.stdout = mine
                default: ours.stderr = mine
                }
            }
        }
        do {
            let started = Result { [table] () throws(SystemError) in
                try guest.zygote.start(
                    order.stage, in: order.group, namespaces: order.namespaces, descriptors: table)
            }
            // The stage has its own copy: while ours is open, the conversation would never end.
            close(theirs)
            pid = try Self.prepare(
                try started.get(), order, filter, conversation, reaper, &ours.master)
        } catch {
            for mine in [ours.stdin, ours.stdout, ours.stderr, ours.master] where mine >= 0 { close(mine) }
            throw error
        }
        sync = conversation
        lastWords = words
        facts.withLock { $0 = ours }
        do { try connect(ports) } catch {
            kill(pid, SIGKILL)
            reaper.watch(pid) { _ in }
            release()
            throw error
        }
        reaper.watch(pid) { [self] status in ended(status) }
    }

    /// Talks to the stage until it is ready. Returns the pid of the process that will run the program.
    private static func prepare(
        _ stage: pid_t, _ order: Order, _ filter: SeccompFilter?, _ sync: borrowing SyncSocket, _ reaper: Reaper,
        _ master: inout Int32
    ) throws -> pid_t {
        var pid = stage
        do {
            try sync.send(document: order.document)
            try sync.send(filter)
            while true {
                switch sync.next() {
                case .ready:
                    // From outside: root of a user namespace may not raise what it has (prlimit(2)).
                    for limit in order.process.limits {
                        try checkNegated(
                            "set limit (process.rlimits)", "\(limit.resource)",
                            clx_set_rlimit(pid, limit.resource, limit.soft, limit.hard))
                    }
                    return pid
                case .terminal(let descriptor): master = descriptor
                case .process(let joined):
                    reaper.watch(pid) { _ in }
                    pid = joined
                case .mapUsers:
                    try order.userMaps.write(of: pid)
                    try sync.sendGo()
                case .failure(let text): throw StageError(text: text)
                case .end:
                    throw StageError(
                        text: "the first step of the process ended without a word"
                            + (filter == nil ? "" : ": does linux.seccomp allow what sets it up?"))
                }
            }
        } catch {
            kill(pid, SIGKILL)
            reaper.watch(pid) { _ in }
            throw error
        }
    }

    /// Joins the process's streams with the host's ports.
    private func connect(_ ports: Ports) throws {
        func dial(_ port: UInt32) throws -> Int32 {
            try checkNegated("connect to", "host port \(port)", clx_connect_vsock(2, port))
        }
        /// Our end of a stream, for the relay to keep: of a terminal another copy, of a pipe the end itself.
        func take(_ stream: WritableKeyPath<Facts, Int32>) -> Int32 {
            facts.withLock { facts in
                if terminal { return fcntl(facts.master, F_DUPFD_CLOEXEC, 3) }
                defer { facts[keyPath: stream] = -1 }
                return facts[keyPath: stream]
            }
        }
        if ports.stdin != 0 {
            let input = relay.connect(from: try dial(ports.stdin), to: take(\.stdin))
            facts.withLock { $0.input = input }
        }
        for (port, stream) in [(ports.stdout, \Facts.stdout), (terminal ? 0 : ports.stderr, \Facts.stderr)]
        where port != 0 {
            let socket = try dial(port)
            let output = relay.connect(from: take(stream), to: socket)
            facts.withLock { $0.outputs.append(output) }
        }
        // No stdin port among others: the process reads the end of file, as from /dev/null.
        if ports.stdin == 0, ports.stdout != 0 || ports.stderr != 0 { closeInput() }
    }

    /// Lets the stage exec its program. Blocks until it runs.
    /// - Parameter hookSeconds: what programs that run before it may take.
    func start(hookSeconds: Int = 0) throws {
        sync.setLimit(seconds: Deadline.stage.seconds + hookSeconds)
        try sync.sendGo()
        switch sync.next() {
        case .failure(let text): throw StageError(text: text)
        default:
            let text = LastWords.read(lastWords)
            guard text.isEmpty else { throw StageError(text: text) }
        }
    }

    func signal(_ number: Int32) throws(SystemError) {
        guard status == nil else { return }
        if kill(pid, number) != 0, errno != ESRCH { throw SystemError("signal", "process \(pid)", errno: errno) }
    }

    /// Whether the program does something about a signal, if only to ignore it.
    func knows(_ signal: Int32) -> Bool {
        func reads(_ name: String) -> String { (try? Files.readText("/proc/\(pid)/\(name)")) ?? "" }
        // Who waits for signals has none blocked in the kernel's eyes as long as that lasts: asked before and after.
        return Self.isWaiting(syscall: reads("syscall")) || Self.knows(signal, status: reads("status"))
            || Self.isWaiting(syscall: reads("syscall"))
    }

    /// Whether it is in rt_sigtimedwait(2): what `--init` puts first spends its time there.
    /// - Parameter syscall: what /proc/pid/syscall has (proc_pid_syscall(5)).
    static func isWaiting(syscall: String) -> Bool {
        // asm/unistd_64.h, and the two calls of programs of 32 bits.
        #if arch(x86_64)
            let numbers = ["128", "177", "421"]
        #else
            let numbers = ["137", "177", "421"]
        #endif
        return numbers.contains(String(syscall.prefix { $0 != " " }))
    }

    /// A signal that is blocked is waited for (signalfd(2)), one that is ignored is so on purpose, and one that is caught has a handler.
    /// - Parameter status: the text of proc_pid_status(5).
    static func knows(_ signal: Int32, status: String) -> Bool {
        let masks = status.split(separator: "\n").filter { line in
            ["SigBlk:", "SigIgn:", "SigCgt:"].contains { line.hasPrefix($0) }
        }
        guard masks.count == 3 else { return true }
        return masks.contains { line in
            let mask = UInt64(line.dropFirst(7).filter { !$0.isWhitespace }, radix: 16) ?? 0
            return mask & (1 << UInt64(signal - 1)) != 0
        }
    }

    func resize(rows: UInt16, columns: UInt16) throws(SystemError) {
        let master = facts.withLock { $0.master }
        guard master >= 0 else { throw SystemError("resize", "a process without terminal", errno: ENOTTY) }
        try checkNegated("resize", "terminal", clx_set_window_size(master, rows, columns))
    }

    // MARK: The end

    var status: Int32? { facts.withLock { $0.status } }

    private func ended(_ status: Int32) {
        let (waiters, input) = facts.withLock { facts in
            facts.status = status
            defer { facts.waiters = [] }
            return (facts.waiters, facts.input)
        }
        if let input { relay.end(input) }
        for waiter in waiters { waiter.resume(returning: status) }
    }

    /// Suspends until the process has ended and what it wrote is on its way to the host.
    func wait(on loop: any EventLoop) async -> Int32 {
        let status = await withCheckedContinuation { continuation in
            let status = facts.withLock { facts in
                if facts.status == nil { facts.waiters.append(continuation) }
                return facts.status
            }
            if let status { continuation.resume(returning: status) }
        }
        closeTerminal()
        await drained(
            facts.withLock { $0.outputs }, quiet: Deadline.quietGuestOutput.limit, limit: Deadline.guestOutput.limit,
            on: loop)
        return status
    }

    private func closeTerminal() {
        facts.withLock { facts in
            if facts.master >= 0 { close(facts.master) }
            facts.master = -1
        }
    }

    /// Closes what RPC clients may still hold open.
    func release() {
        closeTerminal()
        facts.withLock { facts in
            for descriptor in [facts.stdin, facts.stdout, facts.stderr] where descriptor >= 0 { close(descriptor) }
            (facts.stdin, facts.stdout, facts.stderr) = (-1, -1, -1)
        }
    }

    // MARK: Streams by RPC, for clients without ports

    func closeInput() {
        let input = facts.withLock { facts in
            if facts.stdin >= 0 { close(facts.stdin) }
            facts.stdin = -1
            return facts.input
        }
        if let input { relay.end(input) }
    }

    /// Blocks until all is written.
    func write(_ bytes: [UInt8]) throws(SystemError) -> Int {
        let descriptor = try duplicate { $0.terminal >= 0 ? $0.terminal : $0.stdin }
        try descriptor.writeAll(bytes, to: "stdin")
        return bytes.count
    }

    /// Blocks until there is something; empty at the end.
    func read(limit: Int, error: Bool) throws(SystemError) -> [UInt8] {
        let descriptor = try duplicate { $0.terminal >= 0 ? $0.terminal : error ? $0.stderr : $0.stdout }
        var bytes = [UInt8](repeating: 0, count: min(max(limit, 1), 1 << 20))
        let count = Glibc.read(descriptor.raw, &bytes, bytes.count)
        return Array(bytes.prefix(max(0, count)))
    }

    private func duplicate(
        _ choose: ((terminal: Int32, stdin: Int32, stdout: Int32, stderr: Int32)) -> Int32
    ) throws(SystemError) -> FileDescriptor {
        let raw = facts.withLock { facts in
            let number = choose((facts.master, facts.stdin, facts.stdout, facts.stderr))
            return number < 0 ? -1 : fcntl(number, F_DUPFD_CLOEXEC, 3)
        }
        guard raw >= 0 else { throw SystemError("use", "stream of process \(pid)", errno: EBADF) }
        return FileDescriptor(owning: raw)
    }
}

/// What the stage said when it failed.
struct StageError: Error, CustomStringConvertible {
    let text: String
    var description: String { text }
}
