import CLinux
import Glibc

/// The arguments of clx_spawn with the memory and the descriptors that they point to.
final class SpawnRequest {
    var arguments: clx_spawn
    private let memory = CMemory()
    private let descriptors: [SharedDescriptor]

    /// - Parameter admission: must live until clx_spawn returns; nil: the child starts at once.
    init(_ command: Command, admission: Admission?) throws(SystemError) {
        let null = SharedDescriptor(try FileDescriptor.open("/dev/null", O_RDWR))
        let namespace = try command.networkNamespace.map { path throws(SystemError) in
            SharedDescriptor(try FileDescriptor.open(path, O_RDONLY))
        }
        let cgroup = try command.cgroup.map { path throws(SystemError) in
            SharedDescriptor(try FileDescriptor.open(path, O_RDONLY | O_DIRECTORY))
        }
        let parts = try command.root?.assemble() ?? []
        descriptors = [null] + [namespace, cgroup].compactMap { $0 } + parts.map(\.tree)

        var table = command.descriptors
        for standard in Int32(0)...2 where table[standard] == nil { table[standard] = null.raw }
        let mappings = table.map { clx_fd_mapping(source: $0.value, target: $0.key) }
        let groups = command.user?.groups ?? []

        arguments = clx_spawn()
        arguments.executable = memory.string(command.executable)
        arguments.arguments = memory.strings([command.name ?? command.executable] + command.arguments)
        arguments.environment = memory.strings(command.environment)
        arguments.directory = command.directory.map { memory.string($0) }
        arguments.mappings = memory.array(mappings)
        arguments.mapping_count = mappings.count
        arguments.new_session = command.newSession ? 1 : 0
        arguments.network_namespace = namespace?.raw ?? -1
        arguments.cgroup = cgroup?.raw ?? -1
        arguments.new_namespaces = command.newNamespaces
        arguments.dies_with_parent = command.diesWithParent ? 1 : 0
        arguments.may_dump_core = command.mayDumpCore ? 1 : 0
        arguments.bounding = command.withoutPrivileges ? 0 : command.bounding.bits
        arguments.without_privileges = command.withoutPrivileges ? 1 : 0
        arguments.trees = memory.array(parts.map(\.tree.raw))
        arguments.targets = memory.strings(parts.map(\.target))
        arguments.tree_count = parts.count
        arguments.user = command.user?.user ?? 0
        arguments.group = command.user?.group ?? 0
        arguments.groups = memory.array(groups)
        arguments.group_count = groups.count
        if let admission {
            // SAFETY: the caller keeps the admission until clx_spawn returns.
            arguments.context = Unmanaged.passUnretained(admission).toOpaque()
            arguments.admit = { Unmanaged<Admission>.fromOpaque($0!).takeUnretainedValue().decide($1) }
        }
    }
}

/// Carries the caller's decision about a new child through C, and its error back.
final class Admission {
    private let body: ((ProcessIdentity) throws(SystemError) -> Void)?
    private(set) var refusal: SystemError?

    init(_ body: ((ProcessIdentity) throws(SystemError) -> Void)?) { self.body = body }

    /// - Returns: 0 when the child may run, -errno when it must end.
    func decide(_ pid: pid_t) -> Int32 {
        do throws(SystemError) {
            guard let process = ProcessIdentity(pid) else {
                throw SystemError("find", "process \(pid)", errno: ESRCH)
            }
            try body?(process)
            return 0
        } catch {
            refusal = error
            return -error.code
        }
    }
}

extension clx_spawn_step {
    /// The step's name in an error.
    var name: String {
        switch self {
        case clx_spawn_admit: "write down"
        case clx_spawn_join_network_namespace: "join network namespace"
        case clx_spawn_start_session: "new session"
        case clx_spawn_change_root: "arrange files"
        case clx_spawn_change_directory: "change directory"
        case clx_spawn_limit_core_dumps: "limit core dumps"
        case clx_spawn_drop_capabilities: "drop capabilities"
        case clx_spawn_change_user: "change user"
        case clx_spawn_arrange_descriptors: "arrange descriptors"
        case clx_spawn_execute: "execute"
        default: "clone"
        }
    }
}
