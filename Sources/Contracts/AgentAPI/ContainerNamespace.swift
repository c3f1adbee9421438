/// A namespace that a container shares with another one of its guest. The host names the container, the agent knows its process.
package enum ContainerNamespace {
    private static let parent = "/run/kata-containers/"

    /// What a specification for the agent has as the namespace's path.
    package static func path(of container: String, _ type: String) -> String {
        "\(parent)\(container)/namespaces/\(type)"
    }

    /// The container that such a path names; nil for any other path.
    package static func container(of path: String) -> String? {
        guard path.hasPrefix(parent) else { return nil }
        let parts = path.dropFirst(parent.count).split(separator: "/", omittingEmptySubsequences: false)
        return parts.count == 3 && parts[1] == "namespaces" ? String(parts[0]) : nil
    }
}
