/// What a kernel lacks as a guest's, and what won't work therefore.
package struct KernelCheck: Sendable, Equatable {
    package struct Finding: Sendable, Equatable, CustomStringConvertible {
        package let option: KernelOption
        /// What the kernel has instead; nil when it isn't set.
        package let found: String?

        package var description: String {
            let state = found.map { "is \($0)" } ?? "is not set"
            return
                "\(option.rank.rawValue): \(option.name) \(state), \(option.value ?? "not set") is needed: \(option.reason)"
        }
    }

    package let missing: [Finding]
    /// Options that are modules: their files belong into an initrd.
    package let modules: [KernelOption]

    /// - Parameter strict: also what only our own kernel is built with.
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
