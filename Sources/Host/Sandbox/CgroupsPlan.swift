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
        /// Path of the cgroup of the machine and of attach processes.
        package var machine: String
        /// Path of the cgroup of the shim and the file server: with `sandbox_cgroup_only`, the machine's.
        package var helpers: String
        /// Limits of the helpers' cgroup; nil where it is the machine's.
        package var overhead: Overhead?
        /// The first container's set of the host's processors, for the machine's threads.
        package var processors: String?
        /// The first container's set of the host's memory nodes.
        package var nodes: String?
        /// The first container's CPU shares.
        package var cpuShares: UInt64?

        package init(_ linux: OCISpec.Linux?, sandbox: String, configuration: Configuration) {
            machine = Cgroup.path(linux?.cgroupsPath ?? "", sandbox: sandbox)
            let together = configuration[Keys.sandboxGroupOnly]
            helpers = together ? machine : Self.ownHelpers(of: sandbox)
            overhead = together ? nil : Overhead(configuration)
            let limits = linux?.resources?.cpu
            (processors, nodes, cpuShares) = (limits?.cpus, limits?.mems, limits?.shares)
        }

        /// Path of the helpers' cgroup where it isn't the machine's.
        static func ownHelpers(of sandbox: String) -> String { "/kata_overhead/kata_\(sandbox)" }

        /// The reason why a sandbox's shim may have been killed; nil when the kernel has not killed in its cgroup for
        /// lack of memory.
        package static func helpersLackOfMemory(of sandbox: String) -> String? {
            SandboxCgroups.lackOfMemory(of: Cgroup(ownHelpers(of: sandbox)), isTheirOwn: true)
        }
    }

    /// Limits of the shim and the file server, beside the guest's memory.
    ///
    /// The kernel charges a page of guest memory to the cgroup of the process that touches it first. For contents of
    /// shared files that is the file server, for received bytes of a stream the shim. So all of the guest's memory
    /// may be charged to their cgroup.
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
