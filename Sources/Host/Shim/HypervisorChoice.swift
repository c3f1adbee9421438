import Configuration
import Hypervisor
import QEMU
import Sandbox

/// The kinds of hypervisors: this is the one place that knows them all.
package enum HypervisorChoice {
    /// The hypervisor of the configuration, with its settings.
    package static func hypervisor(_ configuration: Configuration, host: HostFacts) -> any Hypervisor {
        QEMU(configuration, host: host)
    }
}

extension SandboxPlan.Basis {
    /// The machine's settings, as the configuration and this host give them.
    /// - Parameter files: the files that the guest boots from.
    /// - Throws: `SystemError` for an image that is none, or of another type than asked for.
    package init(_ configuration: Configuration, files: BootFiles) throws {
        var host = HostFacts.current
        if configuration.usesHostVsock { host.chooseFreeVsockNumber() }
        try self.init(
            configuration, host: host, hypervisor: HypervisorChoice.hypervisor(configuration, host: host),
            files: files)
    }
}
