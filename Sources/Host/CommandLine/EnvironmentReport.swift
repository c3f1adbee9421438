import AgentAPI
import Configuration
import OCISpec
import Sandbox

/// The versions, the host and the values of all keys, as TOML: what `env` prints.
package enum EnvironmentReport {
    package static func text(_ configuration: Configuration) -> String {
        let host = SandboxPlan.Host.withoutFiles(configuration)
        var lines = [
            "[Runtime]", "  Version = \"\(Version.current)\"", "  OCI = \"\(Spec.version)\"",
            "  Config = \(Value.list(configuration.sources))", "",
            "[Host]", "  VirtualCPUs = \(host.processors)", "  MemoryMiB = \(host.memoryMiB)",
            "  Accelerator = \"\(host.accelerator.accelerator.rawValue)\"",
            "  AcceleratorReason = \(Value.string(host.accelerator.reason))",
        ]
        for table in Keys.tables {
            lines += ["", "[\(table)]"]
            lines += Keys.all.filter { $0.table == table }.map { "  \($0.name) = \(configuration.value($0))" }
        }
        return lines.joined(separator: "\n")
    }
}
