/// The keys that have an effect.
///
/// This folder declares those that the plan of any sandbox reads. A hypervisor and a kind of share declare theirs
/// in an extension in their own rooms, and hand them to `KeySet`.
package enum Keys {
    /// The table of the hypervisor that is used.
    static let hypervisorTable = "hypervisor.qemu."

    /// Declares a key of the hypervisor's table.
    package static func hypervisor<Content>(
        _ name: String, _ defaultContent: Content, allowed: [String] = [], in range: ClosedRange<Int>? = nil,
        annotation: Annotation? = nil, _ help: String
    ) -> Key<Content> {
        Key(hypervisorTable + name, defaultContent, allowed: allowed, in: range, annotation: annotation, help)
    }

    /// Declares a key of the hypervisor's table whose value is the path of a host file.
    package static func hypervisor(
        _ name: String, _ hostFile: HostFile, _ defaultPath: String, allowed: [String] = [],
        annotation: (name: String, listedIn: Key<[String]>)? = nil, _ help: String
    ) -> Key<String> {
        Key(hypervisorTable + name, hostFile, defaultPath, allowed: allowed, annotation: annotation, help)
    }

    /// Declares the list of paths that an annotation may give.
    package static func paths(_ name: String, of annotation: String) -> Key<[String]> {
        hypervisor(
            name, [String](),
            "Patterns (glob(7)) of the paths, without symbolic links, that the annotation \(annotation) may give; "
                + "empty: none.")
    }
}
