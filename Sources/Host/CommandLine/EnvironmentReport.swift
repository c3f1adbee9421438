import AgentAPI
import Configuration
import Hypervisor
import OCISpec
import Pod
import Shim

/// The versions, the host and the values of all keys, as TOML: what `env` prints.
package enum EnvironmentReport {
    package static func text(_ configuration: Configuration) -> String {
        let host = HostFacts.current
        let hypervisor = HypervisorChoice.hypervisor(configuration, host: host)
        let (acceleration, need) = (hypervisor.acceleration, MachineNeed(hypervisor))
        var lines = [
            "[Runtime]", "  Version = \"\(Version.current)\"", "  OCI = \"\(Spec.version)\"",
            "  Config = \(Value.list(configuration.sources))", "",
            "[Host]", "  VirtualCPUs = \(host.processors)", "  MemoryMiB = \(host.memoryMiB)",
            "  Accelerator = \"\(acceleration.name)\"",
            "  AcceleratorReason = \(Value.string(acceleration.reason))", "",
            "[Overhead]",
            "  # For overhead.podFixed.memory of a RuntimeClass: needed with sandbox_cgroup_only = true.",
            "  PodFixedMemory = \"\(need.totalMiB)Mi\"", "  GuestMiB = \(need.guestMiB)",
            "  HostMiB = \(need.hostMiB)",
        ]
        for table in KeySet.all.tables {
            lines += ["", "[\(table)]"]
            lines += KeySet.all.keys(of: table).map { "  \($0.name) = \(configuration.value($0))" }
        }
        return lines.joined(separator: "\n")
    }
}
