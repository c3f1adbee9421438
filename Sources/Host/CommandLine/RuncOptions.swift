import Glibc
import Shim

/// Options of runc that a guest can't serve: accepted where they change nothing, refused by their names otherwise.
package enum RuncOptions {
    /// Refuses descriptors of the caller, which would be the program's under runc.
    /// - Parameter preserved: the number of --preserve-fds.
    /// - Throws: `RuntimeError` for any number but 0.
    package static func check(preserved: Int?) throws(RuntimeError) {
        guard let preserved, preserved != 0 else { return }
        throw RuntimeError("--preserve-fds \(preserved): \(noDescriptor)")
    }

    /// Refuses sockets that systemd passes to this process for the container (sd_listen_fds(3)).
    /// - Parameter variable: the environment.
    /// - Throws: `RuntimeError` for any number of sockets but 0.
    package static func checkListening(
        _ variable: (String) -> String? = ShimServer.environment
    ) throws(RuntimeError) {
        guard variable("LISTEN_PID") == "\(getpid())", let count = variable("LISTEN_FDS"), count != "0" else { return }
        throw RuntimeError("LISTEN_FDS=\(count): \(noDescriptor)")
    }

    private static let noDescriptor =
        "no descriptor of the host reaches a guest; bind-mount the file, directory or socket instead"

    /// - Parameter cgroups: the values of exec's --cgroup.
    /// - Throws: `RuntimeError` for any cgroup but the container's own.
    package static func check(cgroups: [String]) throws(RuntimeError) {
        guard let other = cgroups.first(where: { !["", "/"].contains($0) }) else { return }
        throw RuntimeError(
            "--cgroup \"\(other)\": a program runs in its container's own cgroup in the guest; leave it out")
    }
}
