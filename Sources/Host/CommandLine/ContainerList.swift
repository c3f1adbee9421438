import OCISpec

/// The containers of a root, as `list` prints them.
package struct ContainerList {
    private struct Row: Encodable {
        let ociVersion: String
        let id: String
        let pid: Int32
        let status: String
        let bundle: String
        let rootfs: String
        let created: String
        let owner: String

        init(_ state: ContainerState) {
            status = state.status
            (ociVersion, id, pid) = (state.ociVersion, state.id, status == "stopped" ? 0 : state.pid)
            (bundle, rootfs, created) = (state.bundle, state.rootfs, state.created)
            owner = state.owner == 0 ? "root" : "#\(state.owner)"
        }

        var cells: [String] { [id, "\(pid)", status, bundle, created, owner] }
    }

    private static let titles = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    /// Blanks between two columns.
    private static let gap = 2

    private let rows: [Row]

    /// Asks the shim of each container for its status.
    package init(root: String) { rows = ContainerState.all(root: root).map(Row.init) }

    package var json: String { String(decoding: rows.json(), as: UTF8.self) }

    /// One line for the titles and each container.
    package var table: String {
        let lines = [Self.titles] + rows.map(\.cells)
        let widths = Self.titles.indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
        return lines.map { line in
            zip(line, widths).map { $0 + String(repeating: " ", count: $1 - $0.count + Self.gap) }.joined()
        }.joined(separator: "\n")
    }
}
