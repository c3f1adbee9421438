import CLinux
import Cleanup
import EventLoop
import Glibc
import LinuxKernel
import NIOCore
import Synchronization

/// The process on the host of one container under containerd, or of a standalone sandbox: its pid is the one that
/// managers see.
///
/// It executes nothing. It is in the sandbox's network namespace, in pid, IPC and UTS namespaces of its own, and in the
/// container's cgroup. Its end by SIGKILL ends the container; other signals go to the container's program.
final class Placeholder: Sendable {
    let pid: Int32
    private let child: ChildProcess
    private let record: Ledger.RecordID
    private let hasEnded = OneShot<Void>()
    private let isEnding = Atomic(false)

    /// Events of a placeholder, on a thread of its own.
    struct Events: Sendable {
        /// The placeholder got a signal.
        let signalled: @Sendable (Int32) -> Void
        /// The placeholder was killed by another process.
        let killed: @Sendable () -> Void
    }

    /// Must be called on the event loop's thread: the process ends with the thread that starts it.
    /// - Parameters:
    ///   - kind: of its owner, for ps(1).
    ///   - network: path of the sandbox's network namespace; nil: this process's own.
    init(of owner: String, kind: String = "container", network: String?, ledger: Ledger, events: Events)
        throws(SystemError)
    {
        let report = try Pipe()
        var command = Command.idle(named: "kata-\(kind) \(owner)", report: report.writeEnd.raw)
        command.networkNamespace = network
        command.newNamespaces = UInt64(clx_new_pid.rawValue | clx_new_ipc.rawValue | clx_new_uts.rawValue)
        let made: (ChildProcess, Ledger.RecordID)
        do { made = try Self.start(command, of: owner, ledger) } catch {
            // Without the right to make namespaces, a pid of its own still tells the container's end.
            guard [EPERM, ENOSPC].contains(error.code) else { throw error }
            command.newNamespaces = 0
            made = try Self.start(command, of: owner, ledger)
        }
        (child, record) = made
        pid = child.pid
        try watch(SharedDescriptor(try report.readEnd.duplicate()), ledger, events)
    }

    private static func start(_ command: Command, of owner: String, _ ledger: Ledger) throws(SystemError) -> (
        ChildProcess, Ledger.RecordID
    ) {
        var record: Ledger.RecordID?
        do throws(SystemError) {
            let child = try ChildProcess(command) { process throws(SystemError) in
                record = try ledger.add(.process(id: process, name: "placeholder of \(owner)"))
            }
            guard let record else { throw SystemError("record", "placeholder of \(owner)", errno: ESRCH) }
            return (child, record)
        } catch {
            if let record { ledger.forget(record) }
            throw error
        }
    }

    /// Reports the process's signals and its end, and reaps it.
    private func watch(_ report: SharedDescriptor, _ ledger: Ledger, _ events: Events) throws(SystemError) {
        do {
            try startThread("placeholder") { [self] in
                while let number = Self.read(report) { events.signalled(number) }
                _ = child.wait()
                ledger.forget(record)
                hasEnded.complete(())
                if !isEnding.load(ordering: .relaxed) { events.killed() }
            }
        } catch {
            child.signal(SIGKILL)
            _ = child.wait()
            ledger.forget(record)
            throw error
        }
    }

    /// - Returns: the next byte; nil at the end.
    private static func read(_ report: SharedDescriptor) -> Int32? {
        var byte: UInt8 = 0
        while true {
            // SAFETY: read(2) writes at most the one byte.
            let count = unsafe Glibc.read(report.raw, &byte, 1)
            if count == 1 { return Int32(byte) }
            guard count < 0, errno == EINTR else { return nil }
        }
    }

    /// Ends the process and returns when it is reaped: afterwards no process has its pid.
    func end(on loop: any EventLoop) async {
        isEnding.store(true, ordering: .relaxed)
        child.signal(SIGKILL)
        let timer = loop.scheduleTask(in: TimeAmount(Deadline.process.limit)) { [hasEnded] in
            _ = hasEnded.complete(())
        }
        await hasEnded.wait()
        timer.cancel()
    }
}
