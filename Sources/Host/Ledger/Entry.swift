import Cgroups
import Glibc
import LinuxKernel
import Network

extension Ledger {
    /// Something on the host that outlives the function that makes it, told so that anyone can take it away.
    package enum Entry: Codable, Equatable, Sendable {
        /// A process that may add to the ledger: while one lives, the sandbox does.
        case keeper(id: ProcessIdentity)
        /// A process of the sandbox; `name` is for people.
        case process(id: ProcessIdentity, name: String)
        /// What was mounted last at a path, in the mount namespace of that identity (`Mounts.namespace`), and its mount point if
        /// that is one of ours.
        case mount(path: String, namespace: UInt64)
        /// A directory of ours with all that is in it but not mounted on it.
        case directory(path: String)
        /// A Unix socket by its path.
        case socket(path: String)
        /// What was done to another's link, in the network namespace of a path and an identity: behind a path of a process another
        /// one may be by then.
        case link(record: Attachment.Record, namespace: String, identity: UInt64)
        /// A control group by its path below each hierarchy; one of ours has Kata's prefix.
        case controlGroup(path: String)
    }
}

extension Ledger.Entry {
    /// Takes it away. What has gone already is as good.
    func undo() {
        switch self {
        case .keeper(let process), .process(let process, name: _):
            if process.pid != getpid() { process.kill(within: Deadline.process.limit) }
        case .mount(let path, let namespace):
            // In another namespace it goes with that namespace's last process; the same path here may be somebody else's mount.
            if namespace == Mounts.namespace { Mounts.detachLast(path) }
            if Ledger.isOurs(path), unlink(path) != 0 { rmdir(path) }
        case .directory(let path): if Ledger.isOurs(path) { Files.removeTree(path) }
        case .socket(let path): if Self.isSocket(path) { unlink(path) }
        case .link(let record, let path, let identity):
            // The thread keeps the namespace to its end.
            try? runThread("network") {
                guard let namespace = try? NetworkNamespace.open(path), namespace.identity == identity,
                    (try? namespace.enter()) != nil
                else { return }
                record.undo()
            }
        case .controlGroup(let path):
            let name = path.split(separator: "/").last ?? ""
            if path.hasPrefix("/"), name.hasPrefix("kata_"), Ledger.isPlain(path) { Cgroup(path).remove() }
        }
    }

    /// The same of a sandbox that gets another name; nil for what doesn't lie in its shares.
    func renamed(from old: String, to name: String) -> Ledger.Entry? {
        func moved(_ path: String) -> String? {
            let share = Ledger.shares + "/" + old
            guard path == share || path.hasPrefix(share + "/") else { return nil }
            return Ledger.shares + "/" + name + path.dropFirst(share.count)
        }
        switch self {
        case .mount(let path, let namespace): return moved(path).map { .mount(path: $0, namespace: namespace) }
        case .directory(let path): return moved(path).map { .directory(path: $0) }
        case .keeper, .process, .socket, .link, .controlGroup: return nil
        }
    }

    var isProcess: Bool {
        switch self {
        case .keeper, .process: true
        default: false
        }
    }

    /// Whether the host's next start undoes it.
    var endsWithTheHost: Bool {
        switch self {
        case .directory, .socket: false
        default: true
        }
    }

    private static func isSocket(_ path: String) -> Bool {
        var facts = stat()
        return lstat(path, &facts) == 0 && facts.st_mode & S_IFMT == S_IFSOCK
    }
}
