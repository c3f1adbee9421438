import LinuxKernel
import Logging
import Sandbox
import ShimAPI
import Synchronization
import TTRPC

/// containerd's task API (containerd.task.v2 and v3) for one sandbox. Each method is in a file of its name.
package final class ContainerdTasks: TaskService, Sendable {
    /// Key of a Create's metadata: the pid of the attach process, which is in the sandbox's network namespace.
    package static let processKey = "kata-process"
    /// Key of a Wait's metadata: the caller is the exec's attach process.
    package static let attachedKey = "kata-attached"
    /// Key of a Create's metadata: namespaces to share with another container of the sandbox, as `ipc=<container>`.
    package static let joinsKey = "kata-joins"

    /// Key of a Create's metadata: the resource limits of kata-runtime's caller (`ResourceLimits.text`).
    package static let limitsKey = "kata-limits"

    /// Key of the metadata of a Create or Exec: the terminal's output goes to a file or pipe (`plainNewlines`).
    package static let plainNewlinesKey = "kata-plain-newlines"

    let sandboxes: SandboxHolder
    let events: EventPublisher
    let log: Logger
    /// The manager's resource limits, for processes whose specification names none.
    let limits: ResourceLimits
    /// Ends the shim, after the answer to the call that asks for it; nil: at once.
    let shutdownRequested: @Sendable (CallContext?) -> Void
    /// Removes the manager's record of a container, if that is the shim's task.
    let forget: @Sendable (_ container: String) -> Void
    /// Whether the shim's end has begun.
    let isEnding = Atomic(false)
    let ended = OneShot<Void>()

    package init(
        sandboxes: SandboxHolder, events: EventPublisher, log: Logger, limits: ResourceLimits = .inherited,
        forget: @escaping @Sendable (_ container: String) -> Void = { _ in },
        shutdownRequested: @escaping @Sendable (CallContext?) -> Void
    ) {
        self.sandboxes = sandboxes
        self.events = events
        self.log = log
        self.limits = limits
        self.forget = forget
        self.shutdownRequested = shutdownRequested
    }
}
