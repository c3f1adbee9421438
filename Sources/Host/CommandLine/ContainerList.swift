import OCISpec

/// The containers of a root, as `list` prints them.
package struct ContainerList {
    private static let titles = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    /// Blanks between two columns.
    private static let gap = 2

    private let reports: [ContainerReport]

    /// Asks the shim of each container for its status.
    package init(root: String) {
        reports = ContainerState.all(root: root).map { state in
            var report = ContainerReport(state)
            report.owner = state.owner == 0 ? "root" : "#\(state.owner)"
            return report
        }
    }

    package var json: String { String(decoding: reports.json(), as: UTF8.self) }

    /// One line for the titles and each container.
    package var table: String {
        let lines =
            [Self.titles]
            + reports.map {
                [$0.id, "\($0.pid)", $0.status, $0.bundle, $0.created, $0.owner ?? ""]
            }
        let widths = Self.titles.indices.map { column in lines.map { $0[column].count }.max() ?? 0 }
        return lines.map { line in
            zip(line, widths).map { $0 + String(repeating: " ", count: $1 - $0.count + Self.gap) }.joined()
        }.joined(separator: "\n")
    }
}
