import Glibc
import LinuxKernel

/// The user that may change containers: root of the host.
package struct RootUser {
    var user = geteuid()
    /// The user ids of the process's user namespace (user_namespaces(7)).
    var userMap = (try? Files.readText("/proc/self/uid_map")) ?? ""

    /// Whether this process may write to a directory, or make it.
    var mayWrite: (String) -> Bool = Self.mayWrite

    /// Checks the calling user before a command touches anything.
    /// - Parameter directory: of the state of containers, which may not exist yet.
    /// - Throws: `RuntimeError` for an ordinary user. Also for root of a user namespace that has no right to the
    ///   directory: rootless managers run their runtimes in one.
    package static func check(_ command: String, directory: String) throws(RuntimeError) {
        try RootUser().check(command, directory: directory)
    }

    func check(_ command: String, directory: String) throws(RuntimeError) {
        if user == 0, isOfHost || mayWrite(directory) { return }
        throw RuntimeError(
            "\(command) needs root of the host, who mounts files for guests and confines their machines: use sudo, or the manager as root; rootless Podman and Docker can't use this runtime"
        )
    }

    /// Whether the user ids are the host's, all of them.
    private var isOfHost: Bool { userMap.split { $0 == " " || $0 == "\n" } == ["0", "0", "4294967295"] }

    private static func mayWrite(_ directory: String) -> Bool {
        var path = directory
        while !Files.exists(path), path != "/" { path = Files.parent(of: path) }
        // SAFETY: access(2) only reads the path.
        return unsafe access(path, W_OK) == 0
    }
}
