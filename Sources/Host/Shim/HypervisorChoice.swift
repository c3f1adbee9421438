import Configuration
import Hypervisor
import QEMU
import Sandbox
import Share

/// The kinds of hypervisors: this file is the one place that knows them all.
package enum HypervisorChoice {
    /// The hypervisor of the configuration, with its settings.
    package static func hypervisor(_ configuration: Configuration, host: HostFacts) -> any Hypervisor {
        QEMU(configuration, host: host)
    }
}

extension KeySet {
    /// The keys of all rooms.
    package static let all = KeySet(further: QEMU.keys + VirtioFS.keys)
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
