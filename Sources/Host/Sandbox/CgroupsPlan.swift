import Cgroups
import Configuration
import EventLoop
import Glibc
import LinuxKernel
import OCISpec
import SandboxCgroups

extension SandboxPlan {
    /// Cgroups of the host for a sandbox's processes.
    package struct Cgroups: Sendable, Equatable {
        /// Path of the cgroup that the manager names: of attach processes, and of the machine's processors.
        package var machine: String
        /// Path of the cgroup of the hypervisor, the file server and the shim: with `sandbox_cgroup_only`, the
        /// manager's.
        package var helpers: String
        /// Limits of the helpers' cgroup; nil where it is the manager's.
        package var overhead: Overhead?
        /// The limit of memory that the manager's cgroup has, where it holds all of the machine.
        package var limit: Cgroup.Limit?
        /// The host's; tests have others.
        package var hierarchies: Hierarchies
        /// The first container's set of the host's processors, for the machine's threads.
        package var processors: String?
        /// The first container's set of the host's memory nodes.
        package var nodes: String?
        /// The first container's CPU shares.
        package var cpuShares: UInt64?

        /// - Parameter hierarchies: where the manager's limits are read.
        package init(
            _ linux: OCISpec.Linux?, sandbox: String, configuration: Configuration,
            hierarchies: Hierarchies = .current
        ) {
            self.hierarchies = hierarchies
            machine = Cgroup.path(linux?.cgroupsPath ?? "", sandbox: sandbox)
            let together = configuration[Keys.sandboxGroupOnly]
            helpers = together ? machine : Self.ownHelpers(of: sandbox)
            overhead = together ? nil : Overhead(configuration)
            limit = together ? Cgroup(machine, hierarchies).memoryLimit : nil
            let limits = linux?.resources?.cpu
            (processors, nodes, cpuShares) = (limits?.cpus, limits?.mems, limits?.shares)
        }

        /// Path of the helpers' cgroup where it isn't the manager's.
        static func ownHelpers(of sandbox: String) -> String { Cgroup.overhead + "/" + sandbox }

        /// The reason why a sandbox's shim may have been killed; nil when the kernel has not killed in its cgroup for
        /// lack of memory.
        package static func helpersLackOfMemory(of sandbox: String) -> String? {
            SandboxCgroups.lackOfMemory(of: Cgroup(ownHelpers(of: sandbox)), isTheirOwn: true)
        }
    }

    /// Limits of the hypervisor, the file server and the shim, beside the guest's memory.
    ///
    /// The kernel charges a page of guest memory to the cgroup of the process that touches it first. That is the
    /// hypervisor's; for contents of shared files the file server's, for received bytes of a stream the shim's.
    package struct Overhead: Sendable, Equatable {
        /// 0: no limit.
        package var memoryMiB: Int
        /// Processes and threads; 0: no limit.
        package var tasks: Int

        init(_ configuration: Configuration) {
            memoryMiB = configuration[Keys.overheadMemory]
            tasks = configuration[Keys.overheadTasks]
        }

        /// - Parameter machineMiB: the guest's memory.
        func limits(machineMiB: Int) -> Cgroup.Limits {
            Cgroup.Limits(
                memory: memoryMiB == 0 ? nil : UInt64(machineMiB + memoryMiB) << 20,
                tasks: tasks == 0 ? nil : UInt64(tasks))
        }
    }
}
