import Configuration
import Hypervisor
import QEMU
import Sandbox

extension SandboxPlan.Basis {
    /// What the configuration and this host say of a machine: the one place that knows every kind of hypervisor.
    /// - Parameter files: the files that the guest boots from; nil for a plan that starts nothing.
    /// - Throws: for an image that is none.
    package init(_ configuration: Configuration, files: BootFiles?) throws {
        let host = HostFacts.current
        try self.init(configuration, host: host, hypervisor: QEMU(configuration, host: host), files: files)
    }
}
