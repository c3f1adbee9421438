/// A namespace that a container shares with another container of its guest. The host names the container; the agent
/// finds its process.
package enum ContainerNamespace {
    private static let parent = GuestPaths.root + "/"

    /// The namespace's path in a specification for the agent.
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
