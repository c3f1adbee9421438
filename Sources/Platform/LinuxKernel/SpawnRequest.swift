import CLinux
import Glibc

/// The arguments of clx_spawn with the memory and the descriptors that they point to.
@safe final class SpawnRequest {
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

        // SAFETY: all pointers of the new structure are NULL.
        unsafe arguments = clx_spawn()
        // SAFETY: `memory` and `descriptors` live as long as this object.
        unsafe arguments.executable = memory.string(command.executable)
        if command.isIdle {
            let room = (try? Files.read("/proc/self/cmdline"))?.count ?? 0
            let name = String(decoding: (command.name ?? "").utf8.prefix(max(0, room - 1)), as: UTF8.self)
            unsafe arguments.idle = memory.string(name)
            unsafe arguments.idle_room = room
        }
        // SAFETY: as above.
        unsafe arguments.arguments = memory.strings([command.name ?? command.executable] + command.arguments)
        unsafe arguments.environment = memory.strings(command.environment)
        unsafe arguments.directory = command.directory.map { unsafe memory.string($0) }
        unsafe arguments.mappings = memory.array(mappings)
        unsafe arguments.mapping_count = mappings.count
        unsafe arguments.new_session = command.newSession ? 1 : 0
        unsafe arguments.network_namespace = namespace?.raw ?? -1
        unsafe arguments.cgroup = cgroup?.raw ?? -1
        unsafe arguments.new_namespaces = command.newNamespaces
        unsafe arguments.dies_with_parent = command.diesWithParent ? 1 : 0
        unsafe arguments.may_dump_core = command.mayDumpCore ? 1 : 0
        unsafe arguments.bounding = command.withoutPrivileges ? 0 : command.bounding.bits
        unsafe arguments.without_privileges = command.withoutPrivileges ? 1 : 0
        unsafe arguments.trees = memory.array(parts.map(\.tree.raw))
        unsafe arguments.targets = memory.strings(parts.map(\.target))
        unsafe arguments.tree_count = parts.count
        unsafe arguments.user = command.user?.user ?? 0
        unsafe arguments.group = command.user?.group ?? 0
        unsafe arguments.groups = memory.array(groups)
        unsafe arguments.group_count = groups.count
        if let admission {
            // SAFETY: the caller keeps the admission until clx_spawn returns.
            unsafe arguments.context = Unmanaged.passUnretained(admission).toOpaque()
            // SAFETY: clx_spawn calls this before it returns, with the context of the line above.
            unsafe arguments.admit = { unsafe Unmanaged<Admission>.fromOpaque($0!).takeUnretainedValue().decide($1) }
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
