/// What an agent names in AgentDetails.extra_features.
package enum AgentFeature {
    /// It takes the specification as JSON: spec_json, process_json, resources_json.
    package static let specJSON = "spec-json"
}
