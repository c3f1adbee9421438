import LinuxKernel
import Logging
import NIOPosix
import Sandbox
import TTRPC
import TestSupport

@testable import Shim

extension ContainerdTasks {
    /// The task API of a fake sandbox, without a manager that takes events and without a log.
    /// - Parameter end: ends the shim (`shutdownRequested`).
    /// - Parameter isHeld: whether the sandbox exists already; otherwise it is the next new one.
    convenience init(
        serving fakes: FakeSandbox, isHeld: Bool = true, limits: ResourceLimits = .inherited,
        end: @escaping @Sendable (CallContext?) -> Void
    ) {
        let loop = MultiThreadedEventLoopGroup.singleton.next()
        let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
        let holder = SandboxHolder(
            identifier: "s1", configurationPath: nil, ledger: fakes.ledger, loop: loop, log: log,
            make: { _ in fakes.sandbox })
        if isHeld { holder.hold(fakes.sandbox) }
        self.init(
            sandboxes: holder, events: EventPublisher(address: nil, namespace: "t", loop: loop, log: log), log: log,
            limits: limits, shutdownRequested: end)
    }
}
