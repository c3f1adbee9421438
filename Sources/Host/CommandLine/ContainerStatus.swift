import Glibc
import OCISpec
import ShimAPI

extension ContainerState {
    /// created, running, paused or stopped (runtime.md, "State").
    package var status: String {
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

    /// Pid of the attach process, valid for the caller.
    /// - Throws: `RuntimeError` if it belongs to another pid namespace.
    package var attachPid: Int32 { get throws { try here().pid } }

    /// self, if its pids are the caller's (see `here`).
    package func checkedForCaller() throws -> ContainerState { try here() }

    /// The state as OCI runtimes print it (runtime.md, "State").
    package var json: String {
        struct Report: Encodable {
            let ociVersion: String
            let id: String
            let status: String
            let pid: Int32
            let bundle: String
            let rootfs: String
            let created: String
            let annotations: [String: String]?
        }
        let status = status
        let report = Report(
            ociVersion: ociVersion, id: id, status: status, pid: status == "stopped" ? 0 : pid, bundle: bundle,
            rootfs: rootfs, created: created, annotations: annotations.isEmpty ? nil : annotations)
        return String(decoding: report.json(pretty: true), as: UTF8.self)
    }
}
