import Container
import OCISpec

/// Plans an unused container while the host prepares the first one: the first use of the decoders takes five times as
/// long as the second.
enum WarmUp {
    static func run(_ zygote: Zygote) {
        if let plan = try? plan() { zygote.warmUp(plan) }
    }

    /// The plan of the example specification, with the limits that managers add.
    static func plan() throws -> ContainerPlan {
        var specification = try Spec.decode(json: Array(Spec.exampleJSON.utf8), source: "warm-up")
        specification.linux?.resources = try Linux.Resources.decode(json: Array(resources.utf8), source: "warm-up")
        specification.linux?.cgroupsPath = "/warm-up"
        return try ContainerPlan(specification, container: "warm-up")
    }

    private static let resources = #"""
        {"devices": [{"allow": false, "access": "rwm"}, {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"}],
         "memory": {"limit": 268435456}, "cpu": {"shares": 1024, "quota": 100000, "period": 100000}}
        """#
}
