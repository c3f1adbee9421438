import Cgroups
import Cleanup
import GuestSpec
import LinuxKernel
import OCISpec
import Pod
import Share
import SocketForward
import Stdio
import Storage

/// The identity of a container. Its name alone may belong to another container after the next suspension.
package struct ContainerKey: Hashable, Sendable {
    package let id: String
    /// Differs for each container of a sandbox.
    let number: Int
}

/// A container of a sandbox. Only the sandbox's actor touches it.
final class Container {
    let key: ContainerKey
    var id: String { key.id }
    let bundle: String
    /// An empty file that tells its manager of a lack of memory; nil where events alone do.
    var outOfMemoryFile: String?
    /// nil until it is created.
    var hooks: HostHooks?
    /// Pid of the attach process (kata-runtime); nil under containerd.
    var attachProcess: Int32?
    /// The mounts among which its manager's paths are looked up; nil: this process's.
    var view: ManagerView?
    /// Whether this process has mounted its root file system in the bundle.
    var hasOwnRoot = false
    /// Under containerd: the container's process on the host.
    var placeholder: Placeholder?
    /// Pid of the attach process or the placeholder, also after its end; nil where there is none.
    var hostProcess: Int32?
    /// The cgroup that holds that process, with its record; nil where the specification names none.
    var cgroup: (group: Cgroup, record: Ledger.RecordID)?
    /// Path of its resolv.conf on the host. A manager may write the file until the container starts.
    var resolverConfiguration: String?
    let initial: ContainerProcess
    var processes: [String: ContainerProcess]
    var paused = false
    /// Its request and plan, from the planning to the beginning of its creation; nil otherwise.
    var prepared: (request: ContainerRequest, guest: GuestSpec)?
    /// The end of its creation; nil while the creation has not begun.
    var creating: OneShot<Void>?
    /// The end of its removal; nil while that has not begun.
    var removal: OneShot<Void>?
    /// Whether the guest has it.
    var isInGuest = false
    /// The processors and memory that it asks of the machine.
    var demand = Demand(nil)
    /// The time that the guest took to create it.
    var creation = Duration.zero
    /// Disks of the host that the machine has for the container.
    var disks: [HostDisk.Identity] = []
    /// Sockets of the host that its programs may connect to, by their host ports.
    var sockets: [(port: UInt32, socket: HostSocket)] = []
    /// The host identities of its programs for connections to those sockets.
    var identities = ContainerIdentities(IDMaps())
    /// Paths of the host that the guest has for the container, and records of other things made for it alone.
    var shares = SharedPaths.Use()
    /// Memory of the guest that it uses in place of the host's.
    var memories: [GuestSpec.Memory] = []

    init(_ key: ContainerKey, bundle: String, streams: StreamPaths) {
        self.key = key
        self.bundle = bundle
        initial = ContainerProcess(id: "", streams: streams, specification: nil)
        processes = ["": initial]
    }

    /// Whether further processes can be added, and all can be paused.
    var isAlive: Bool { isInGuest && initial.ended == nil }

    func process(_ exec: String) throws(SandboxError) -> ContainerProcess {
        guard let process = processes[exec] else {
            throw SandboxError(.notFound, "process \(exec) of container \(id) does not exist")
        }
        return process
    }
}
