import OCISpec

/// An error in the shim's command line or standard input.
package struct UsageError: Error, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}

/// The shim's command line: one or two dashes, `-x v` or `-x=v`, booleans bare (Go's flag package).
package struct ShimFlags: Equatable, Sendable {
    /// `cached`: keep a warm VM until the cache server hands it to a sandbox, over descriptor 3.
    package enum Action: Equatable, Sendable { case serve, cached, start, delete, version, info, features }

    package var namespace = ""
    package var address = ""
    package var publishBinary = ""
    package var id = ""
    package var bundle = ""
    /// Path of a serving shim's socket. The shim inherits the listening descriptor, and removes the file at its end.
    package var socket = ""
    /// The sandbox of the container `id`, for the process that `delete` leaves behind.
    package var sandbox = ""
    package var debug = false
    /// Whether `start` may take a warm VM from the VM cache.
    package var usesCache = true
    package var action = Action.serve

    /// Accepts sandbox ids, and for a cached shim the cache's names, which no sandbox can have.
    private func checkID() throws(UsageError) {
        guard !id.isEmpty else { throw UsageError("flag -id is missing") }
        let isCached = action == .cached && id.hasPrefix(MachineCache.prefix)
        do {
            try Identifier.check(isCached ? String(id.dropFirst()) : id, "sandbox id (flag -id)")
            if !sandbox.isEmpty { try Identifier.check(sandbox, "sandbox id (flag -sandbox)") }
        } catch { throw UsageError(error.description) }
    }

    /// Reads the words after the program's name.
    /// - Throws: `UsageError` for an unknown flag or action, a flag without its value, or an id that is missing or not
    ///   valid.
    package init(_ arguments: [String]) throws(UsageError) {
        var rest = arguments[...]
        while let word = rest.popFirst() {
            if word.allSatisfy({ $0 == " " }) { continue }
            guard word.hasPrefix("-") else {
                switch word {
                case "start": action = .start
                case "delete": action = .delete
                case "features": action = .features
                default: throw UsageError("unknown action \"\(word)\": expected start, delete or features")
                }
                continue
            }
            let parts = word.drop { $0 == "-" }.split(separator: "=", maxSplits: 1).map(String.init)
            guard let name = parts.first else { throw UsageError("empty flag \"\(word)\"") }
            switch name {
            case "v", "version":
                action = .version
                continue
            case "info":
                action = .info
                continue
            case "cached":
                action = .cached
                continue
            case "no-vm-cache":
                usesCache = false
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
            case "sandbox": sandbox = value
            default: throw UsageError("unknown flag -\(name)")
            }
        }
        if ![.version, .info, .features].contains(action) { try checkID() }
    }
}
