import CLinux
import Glibc
import LinuxKernel

/// The mount namespace of a container's manager, where it differs from this process's.
///
/// A manager may mount where nothing propagates to this process. Podman mounts for one container; CRI-O keeps the mounts
/// of its storage to itself; a host whose `/` is not shared shows no later mount. Such a path leads to another directory
/// here, often to an empty one on the host's disk.
package struct ManagerView: Sendable {
    /// The namespace (/proc/PID/ns/mnt). The process may end, and its pid be another's, before the last look.
    let namespace: SharedDescriptor
    /// The process's root directory.
    private let root: SharedDescriptor
    /// The mounts that the manager sees.
    package let mountTable: [MountEntry]
    /// Mount points at which the two namespaces differ.
    private let differing: Set<String>

    /// - Parameters:
    ///   - process: the manager's, or one that it has started in its namespace.
    ///   - own: directories in which this process mounts for the sandbox.
    /// - Returns: nil where this process sees the same mounts.
    /// - Throws: `SystemError` when the process has ended, or its mounts can't be read.
    package init?(of process: Int32, except own: Set<String>) throws(SystemError) {
        let namespace = SharedDescriptor(try FileDescriptor.open("/proc/\(process)/ns/mnt", O_RDONLY))
        guard try namespace.descriptor.facts("mount namespace").st_ino != Mounts.namespace else { return nil }
        let root = SharedDescriptor(try FileDescriptor.open("/proc/\(process)/root", O_RDONLY | O_DIRECTORY))
        let table = try MountTable.read(of: "\(process)")
        self.init(namespace, root, table, ours: try MountTable.read(), except: own)
    }

    init?(
        _ namespace: SharedDescriptor, _ root: SharedDescriptor, _ table: [MountEntry], ours: [MountEntry],
        except own: Set<String>
    ) {
        differing = MountTable.difference(table, ours).filter { point in
            !own.contains { point == $0 || point.hasPrefix($0 + "/") }
        }
        if differing.isEmpty { return nil }
        (self.namespace, self.root, mountTable) = (namespace, root, table)
    }

    /// Whether the namespaces differ below a path.
    func differs(below path: String) -> Bool {
        let start = path == "/" ? path : path + "/"
        return differing.contains { $0.hasPrefix(start) }
    }

    /// Whether the manager sees something mounted below a path.
    func hasMounts(below path: String) -> Bool { Mounts.hasMounts(below: path, table: mountTable) }

    /// The kind of a file that the manager sees. Links lead where they lead the manager.
    package func kind(of path: String) -> Files.Kind? {
        guard let file = open(path) else { return nil }
        return Files.kind(of: "/proc/self/fd/\(file.raw)")
    }

    /// Looks up a file that the manager sees (O_PATH).
    func open(_ path: String) -> FileDescriptor? {
        // SAFETY: the call only reads the path.
        let found = unsafe clx_open_in_root(root.raw, path, Int32(clx_open_path), 0)
        return found >= 0 ? FileDescriptor(owning: found) : nil
    }
}
