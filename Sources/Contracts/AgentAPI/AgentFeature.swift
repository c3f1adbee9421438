/// What an agent names in AgentDetails.extra_features.
package enum AgentFeature {
    /// It takes the specification as JSON: spec_json, process_json, resources_json.
    package static let specJSON = "spec-json"

    /// Keeps the features that the host knows, of those that an agent names.
    package static func known(in named: [String]) -> [String] { [specJSON].filter(named.contains) }
}
