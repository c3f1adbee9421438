/// A container as `state` and `list` print it.
struct ContainerReport: Encodable {
    let ociVersion: String
    let id: String
    /// 0 when the container has stopped or has none yet.
    let pid: Int32
    let status: String
    let bundle: String
    let rootfs: String
    let created: String
    /// For `state` only; nil: none.
    var annotations: [String: String]?
    /// For `list` only.
    var owner: String?

    /// Asks the container's shim for the status.
    init(_ state: ContainerState) {
        (ociVersion, id, status) = (state.ociVersion, state.id, state.status)
        pid = status == "stopped" ? 0 : state.pid
        (bundle, rootfs, created) = (state.bundle, state.rootfs, state.created)
    }
}
