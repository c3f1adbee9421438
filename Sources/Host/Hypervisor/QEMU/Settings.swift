import Configuration
import Hypervisor

extension QEMU {
    /// QEMU as `[hypervisor.qemu]` describes it.
    /// - Parameter host: the facts of the host that decide.
    package init(_ configuration: Configuration, host: HostFacts, accelerator: Accelerator.Choice? = nil) {
        self.init(
            executable: configuration.text(Keys.path),
            accelerator: accelerator ?? Accelerator.choose(configuration.text(Keys.accelerator)))
        machineType = configuration.text(Keys.machineType)
        machineAccelerators = configuration.text(Keys.machineAccelerators)
        // pmu=off, the default, is the host processor's property; TCG's has none.
        let isDefault = !configuration.isSet(Keys.cpuFeatures)
        cpuFeatures = self.accelerator.accelerator == .tcg && isDefault ? "" : configuration.text(Keys.cpuFeatures)
        seccompSandbox = configuration.text(Keys.seccompSandbox)
        hostKilohertz = host.kilohertz
    }
}
