import OCISpec

/// A container's part in a pod, by the annotations of containerd's CRI and of CRI-O.
package enum PodRole: Equatable, Sendable {
    case none
    /// The container that opens the pod; others name its sandbox.
    case sandbox
    case container

    private static let crioPrefix = "io.kubernetes.cri-o."
    private static let typeKeys = ["io.kubernetes.cri.container-type", "io.kubernetes.cri-o.ContainerType"]
    private static let sandboxKeys = ["io.kubernetes.cri.sandbox-id", "io.kubernetes.cri-o.SandboxID"]

    package init(_ spec: Spec) {
        switch Self.typeKeys.lazy.compactMap({ spec.annotations?[$0] }).first {
        case "sandbox": self = .sandbox
        case "container": self = .container
        default: self = .none
        }
    }

    /// Whether CRI-O has made a container: its annotations have a prefix of their own.
    package static func isOfCRIO(_ annotations: [String: String]) -> Bool {
        annotations.keys.contains { $0.hasPrefix(crioPrefix) }
    }

    /// The sandbox that a pod's container names as its own; nil where the annotations name none.
    package static func sandboxID(in annotations: [String: String]) -> String? {
        sandboxKey(in: annotations).flatMap { annotations[$0] }
    }

    /// The annotation that names the sandbox.
    static func sandboxKey(in annotations: [String: String]) -> String? {
        sandboxKeys.first { annotations[$0] != nil }
    }
}
