import AgentAPI
import Configuration
import Hypervisor
import OCISpec
import Shim

/// The versions, the host and the values of all keys, as TOML: what `env` prints.
package enum EnvironmentReport {
    package static func text(_ configuration: Configuration) -> String {
        let host = HostFacts.current
        let acceleration = HypervisorChoice.hypervisor(configuration, host: host).acceleration
        var lines = [
            "[Runtime]", "  Version = \"\(Version.current)\"", "  OCI = \"\(Spec.version)\"",
            "  Config = \(Value.list(configuration.sources))", "",
            "[Host]", "  VirtualCPUs = \(host.processors)", "  MemoryMiB = \(host.memoryMiB)",
            "  Accelerator = \"\(acceleration.name)\"",
            "  AcceleratorReason = \(Value.string(acceleration.reason))",
        ]
        for table in Keys.tables {
            lines += ["", "[\(table)]"]
            lines += Keys.all.filter { $0.table == table }.map { "  \($0.name) = \(configuration.value($0))" }
        }
        return lines.joined(separator: "\n")
    }
}
