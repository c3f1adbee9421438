import Container
import Glibc
import LinuxKernel
import Synchronization

import protocol NIOCore.EventLoop

/// A process of a container, from its first stage to its exit.
final class GuestProcess: Sendable {
    let pid: pid_t
    let streams: ProcessStreams
    private let conversation: SyncSocket
    private let lastWords: FileDescriptor

    private struct End: Sendable {
        var status: Int32?
        var waiters: [CheckedContinuation<Int32, Never>] = []
    }
    private let end = Mutex(End())

    /// Starts the process, and waits until it has done everything but the exec. Blocks.
    /// - Parameter filter: of system calls, compiled once for all processes of a container.
    init(_ launch: Launch, in guest: Guest, filter: SeccompFilter?, ports: StreamPorts) throws {
        let launched = try LaunchedProcess(launch, guest.zygote, filter: filter, reaper: guest.reaper)
        pid = launched.pid
        conversation = launched.conversation
        lastWords = launched.lastWords
        do { streams = try ProcessStreams(launched.ends, ports, relay: guest.relay) } catch {
            kill(pid, SIGKILL)
            guest.reaper.watch(pid) { _ in }
            throw error
        }
        guest.reaper.watch(pid) { [self] status in ended(status) }
    }

    /// Lets the stage exec its program. Blocks until it runs.
    /// - Parameter hookSeconds: what programs that run before it may take.
    func start(hookSeconds: Int = 0) throws {
        conversation.setLimit(Deadline.stage.limit + .seconds(hookSeconds))
        try conversation.sendGo()
        switch conversation.next() {
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

    // MARK: The end

    var status: Int32? { end.withLock { $0.status } }

    private func ended(_ status: Int32) {
        let waiters = end.withLock { end in
            end.status = status
            defer { end.waiters = [] }
            return end.waiters
        }
        streams.endInput()
        for waiter in waiters { waiter.resume(returning: status) }
    }

    /// Suspends until the process has ended and what it wrote is on its way to the host.
    func wait(on loop: any EventLoop) async -> Int32 {
        let status = await withCheckedContinuation { continuation in
            let status = end.withLock { end in
                if end.status == nil { end.waiters.append(continuation) }
                return end.status
            }
            if let status { continuation.resume(returning: status) }
        }
        await streams.drain(on: loop)
        return status
    }
}
