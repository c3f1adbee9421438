import OCISpec

/// What was wrong with a command line.
package struct UsageError: Error, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}

/// The shim's command line: one or two dashes, `-x v` or `-x=v`, booleans bare (Go's flag package).
package struct ShimFlags: Equatable, Sendable {
    /// `cached`: waits with a machine, on descriptor 3, for whoever wants to have it.
    package enum Action: Equatable, Sendable { case serve, cached, start, delete, version }

    package var namespace = ""
    package var address = ""
    package var publishBinary = ""
    package var id = ""
    package var bundle = ""
    /// Of a serving shim: where it listens. The listening descriptor is handed down; the file is removed at the end.
    package var socket = ""
    package var debug = false
    /// No cached machine is asked for.
    package var boots = false
    package var action = Action.serve

    /// A cached shim has a name that no sandbox can have.
    private func checkID() throws(UsageError) {
        guard !id.isEmpty else { throw UsageError("flag -id is missing") }
        let isCached = action == .cached && id.hasPrefix(MachineCache.prefix)
        do { try Identifier.check(isCached ? String(id.dropFirst()) : id, "sandbox id (flag -id)") } catch {
            throw UsageError(error.description)
        }
    }

    package init(_ arguments: [String]) throws(UsageError) {
        var rest = arguments[...]
        while let word = rest.popFirst() {
            if word.allSatisfy({ $0 == " " }) { continue }
            guard word.hasPrefix("-") else {
                switch word {
                case "start": action = .start
                case "delete": action = .delete
                default: throw UsageError("unknown action \"\(word)\": expected start or delete")
                }
                continue
            }
            let parts = word.drop { $0 == "-" }.split(separator: "=", maxSplits: 1).map(String.init)
            guard let name = parts.first else { throw UsageError("empty flag \"\(word)\"") }
            switch name {
            case "v", "version":
                action = .version
                continue
            case "cached":
                action = .cached
                continue
            case "boot":
                boots = true
                continue
            case "debug":
                debug = parts.count < 2 || parts[1] != "false"
                continue
            default: break
            }
            guard let value = parts.count == 2 ? parts[1] : rest.popFirst() else {
                throw UsageError("flag -\(name) needs a value")
            }
            switch name {
            case "namespace": namespace = value
            case "address": address = value
            case "publish-binary": publishBinary = value
            case "id": id = value
            case "bundle": bundle = value
            case "socket": socket = value
            default: throw UsageError("unknown flag -\(name)")
            }
        }
        if action != .version { try checkID() }
    }
}
