import Glibc
import OCISpec
import Shim
import ShimAPI

extension ContainerState {
    /// creating, created, running, paused or stopped (runtime.md, "State").
    package var status: String {
        if let creation { return creation == .ended ? "stopped" : "creating" }
        guard let now = try? TaskClient.connect(address).state(id) else { return "stopped" }
        switch now.status {
        case .created: return "created"
        case .running: return "running"
        case .paused, .pausing: return "paused"
        default: return "stopped"
        }
    }

    /// A client of the container's shim.
    /// - Throws: `RuntimeError` if the container has ended.
    func connectIfRunning() throws -> TaskClient {
        let task = try TaskClient.connect(address)
        guard try task.state(id).status != .stopped else { throw RuntimeError("container \"\(id)\" is not running") }
        return task
    }

    /// The state as OCI runtimes print it (runtime.md, "State").
    package var json: String {
        var report = ContainerReport(self)
        if !annotations.isEmpty { report.annotations = annotations }
        return String(decoding: report.json(pretty: true), as: UTF8.self)
    }
}
