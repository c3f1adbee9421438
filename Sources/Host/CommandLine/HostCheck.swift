import Cleanup
import Configuration
import Glibc
import SandboxCgroups
import Shim

/// `check`: whether this host can run guests, and what dead sandboxes have left.
package enum HostCheck {
    /// - Returns: lines for the user, and whether nothing failed.
    package static func host(_ configuration: Configuration) -> (lines: [String], isSound: Bool) {
        var lines = configuration.warnings.map { "warning: \($0)" }
        var failures: [String] = []
        do { _ = try configuration.openFiles() } catch { failures.append("failed: \(error)") }
        let hypervisor = HypervisorChoice.hypervisor(configuration, host: .current)
        let acceleration = hypervisor.acceleration
        if let unusableReason = hypervisor.unusableReason { failures.append("failed: \(unusableReason)") }
        lines += failures + ["accelerator: \(acceleration.name) (\(acceleration.reason))"]
        if getuid() != 0 {
            failures.append("failed: mounting containers' files needs root")
            lines.append(failures.last ?? "")
        }
        return (lines, failures.isEmpty)
    }

    /// - Parameters:
    ///   - root: directory of the state of the command line's containers.
    ///   - fix: whether to remove the remains that are found.
    /// - Returns: lines for the user, and whether nothing is left.
    /// - Throws: `RuntimeError` unless root calls it.
    package static func leaks(root: String, fix: Bool) throws -> (lines: [String], isSound: Bool) {
        guard getuid() == 0 else { throw RuntimeError("check --leaks: only root sees what sandboxes have left") }
        let found = try Ledger.leaks() + ContainerState.leaks(root: root) + CgroupLeaks.find()
        let leaks = found.map { (leak: $0, isRemoved: fix && $0.remove()) }
        let lines = leaks.map { ($0.isRemoved ? "removed " : "leaked ") + "\($0.leak)" }
        return (lines, leaks.allSatisfy(\.isRemoved))
    }
}
