/// The options that a kernel lacks as a guest's, and the features that don't work without them.
package struct KernelCheck: Sendable, Equatable {
    package struct Finding: Sendable, Equatable, CustomStringConvertible {
        package let option: KernelOption
        /// The kernel's value; nil when the option isn't set.
        package let found: String?

        package var description: String {
            let state = found.map { "is \($0)" } ?? "is not set"
            return
                "\(option.rank.rawValue): \(option.name) \(state), \(option.value ?? "not set") is needed: \(option.reason)"
        }
    }

    package let missing: [Finding]
    /// Options that are modules, whose files must be in the initrd.
    package let modules: [KernelOption]

    /// - Parameter strict: also checks options that only this project's own kernel needs.
    package init(_ kernel: KernelConfiguration, options: [KernelOption] = KernelOption.all, strict: Bool = false) {
        var missing: [Finding] = []
        var modules: [KernelOption] = []
        for option in options where strict || option.rank != .own {
            let found = kernel.values[option.name]
            if found == option.value { continue }
            if option.value == "y", found == "m", !strict {
                modules.append(option)
            } else {
                missing.append(Finding(option: option, found: found))
            }
        }
        self.missing = missing
        self.modules = modules
    }

    package var isUsable: Bool { !missing.contains { $0.option.rank == .essential } }
}
