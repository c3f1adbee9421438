import Configuration
import Hypervisor

extension QEMU {
    /// QEMU as `[hypervisor.qemu]` describes it.
    /// - Parameter host: the facts of the host on which the settings depend.
    package init(_ configuration: Configuration, host: HostFacts, accelerator: Accelerator.Choice? = nil) {
        self.init(
            executable: configuration[Keys.path],
            accelerator: accelerator ?? Accelerator.choose(configuration[Keys.accelerator]))
        machineType = configuration[Keys.machineType]
        machineAccelerators = configuration[Keys.machineAccelerators]
        // pmu=off, the default, is a property of the host processor; TCG's processor has none.
        let isDefault = !configuration.isSet(Keys.cpuFeatures)
        cpuFeatures = self.accelerator.accelerator == .tcg && isDefault ? "" : configuration[Keys.cpuFeatures]
        seccompSandbox = configuration[Keys.seccompSandbox]
        hostKilohertz = host.kilohertz
    }
}
