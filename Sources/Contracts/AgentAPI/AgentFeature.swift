/// Features that an agent announces in AgentDetails.extra_features.
package enum AgentFeature {
    /// The agent accepts the specification as JSON: spec_json, process_json, resources_json.
    package static let specJSON = "spec-json"

    /// The agent connects streams of the host to ports of the guest (`PortRelay`).
    package static let portForward = "port-forward"

    /// The agent holds the limits of a pod's containers together: pod_limits.
    package static let podLimits = "pod-limits"

    /// The agent makes the guest's network equal to a whole network namespace: UpdateNetwork.
    package static let wholeNetwork = "whole-network"

    /// The agent keeps a sandbox without a container of its own: its sysctls, and the pid namespace that its containers
    /// share (SetSysctls, and sandbox_pidns of CreateSandbox).
    package static let standalone = "standalone-sandbox"

    /// The agent's features.
    package static let all = [specJSON, portForward, podLimits, wholeNetwork, standalone]

    /// The features of `named` that the host knows.
    package static func known(in named: [String]) -> [String] { all.filter(named.contains) }
}
