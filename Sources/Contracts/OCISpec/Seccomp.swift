extension Linux {
    /// The system calls that a container may make (config-linux.md, "Seccomp").
    package struct Seccomp: Codable, Equatable, Sendable {
        package var defaultAction: String
        package var defaultErrnoRet: UInt32?
        package var architectures: [String]?
        package var flags: [String]?
        package var listenerPath: String?
        package var listenerMetadata: String?
        package var syscalls: [Rule]?

        package init(defaultAction: String) { self.defaultAction = defaultAction }

        package struct Rule: Codable, Equatable, Sendable {
            package var names: [String]
            package var action: String
            package var errnoRet: UInt32?
            package var args: [Argument]?

            package init(names: [String], action: String, errnoRet: UInt32? = nil, args: [Argument]? = nil) {
                self.names = names
                self.action = action
                self.errnoRet = errnoRet
                self.args = args
            }
        }

        package struct Argument: Codable, Equatable, Sendable {
            package var index: UInt32
            package var value: UInt64
            package var valueTwo: UInt64?
            package var op: String

            package init(index: UInt32, value: UInt64, valueTwo: UInt64? = nil, op: String) {
                self.index = index
                self.value = value
                self.valueTwo = valueTwo
                self.op = op
            }
        }
    }
}

extension Linux.Seccomp {
    /// Refuses actions that ask a listener on the host. Ignores a `listenerPath` that no action uses, as the
    /// specification says.
    /// - Throws: `SpecError` with the first field that has the action SCMP_ACT_NOTIFY.
    package func refuseListener(source: String) throws(SpecError) {
        let actions =
            [("defaultAction", defaultAction)]
            + (syscalls ?? []).enumerated().map { ("syscalls[\($0)].action", $1.action) }
        guard let field = actions.first(where: { $1 == "SCMP_ACT_NOTIFY" })?.0 else { return }
        throw SpecError(
            source, "linux.seccomp." + field, "SCMP_ACT_NOTIFY asks a listener of the host, which no guest can reach")
    }

    func validate(source: String) throws(SpecError) {
        let path = "linux.seccomp."
        let actions = KernelNames.seccompActions.map(\.name)
        func action(
            _ field: String, _ name: String, _ errnoField: String, _ errno: UInt32?
        ) throws(SpecError) {
            try member(source, path + field, name, actions)
            if let errno {
                guard name == "SCMP_ACT_ERRNO" || name == "SCMP_ACT_TRACE" else {
                    throw SpecError(
                        source, path + errnoField, "\(errno) is given to \(name), which goes without an errno")
                }
                guard errno <= 4095 else { throw SpecError(source, path + errnoField, "\(errno) is above 4095") }
            }
        }
        try action("defaultAction", defaultAction, "defaultErrnoRet", defaultErrnoRet)
        for (index, name) in (architectures ?? []).enumerated() {
            try member(source, path + "architectures[\(index)]", name, KernelNames.seccompArchitectures)
        }
        for (index, name) in (flags ?? []).enumerated() {
            try member(source, path + "flags[\(index)]", name, KernelNames.seccompFlags.map(\.name))
        }
        if let listenerMetadata, !listenerMetadata.isEmpty, (listenerPath ?? "").isEmpty {
            throw SpecError(source, path + "listenerMetadata", "given without listenerPath (config-linux.md, Seccomp)")
        }
        for (index, rule) in (syscalls ?? []).enumerated() {
            let place = "syscalls[\(index)]."
            guard !rule.names.isEmpty else { throw SpecError(source, path + place + "names", "empty") }
            for name in rule.names where name.isEmpty || name.utf8.contains(0) {
                throw SpecError(source, path + place + "names", "holds an empty name")
            }
            try action(place + "action", rule.action, place + "errnoRet", rule.errnoRet)
            for (number, argument) in (rule.args ?? []).enumerated() {
                guard argument.index < 6 else {
                    throw SpecError(
                        source, path + place + "args[\(number)].index",
                        "\(argument.index) is above 5, the last argument")
                }
                try member(source, path + place + "args[\(number)].op", argument.op, KernelNames.seccompOperators)
            }
        }
    }
}
