import CLinux

/// A further process of a running container.
package struct ExecPlan: Equatable, Sendable {
    package var process = ProcessPlan()
    /// CLONE_NEW* flags of the container's namespaces.
    package var namespaces: UInt64 = 0
    package var personality: UInt?

    init() {}

    /// - Parameter container: the one whose namespaces and personality the process shares.
    package init(_ process: ProcessPlan, in container: ContainerPlan) {
        self.process = process
        personality = container.personality
        namespaces = [clx_new_ipc, clx_new_uts, clx_new_pid, clx_new_mount, clx_new_cgroup].reduce(0) {
            $0 | UInt64($1.rawValue)
        }
        // Joining one's own user namespace fails (setns(2)), and older kernels have no time namespaces.
        for flag in [clx_new_user, clx_new_time] where container.namespaces.has(flag) {
            namespaces |= UInt64(flag.rawValue)
        }
    }
}

extension ExecPlan: PlanCodable {
    mutating func code(_ coder: inout PlanCoder) {
        coder.code(&process)
        coder.code(&namespaces)
        coder.code(&personality)
    }

    package var encoded: [UInt8] { PlanCoder.write(self) }
}
