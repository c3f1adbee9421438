import LinuxKernel

extension Spec {
    /// Reads and validates a bundle's config.json, and makes its paths absolute.
    /// - Throws: `SystemError` for a file that can't be read, `SpecError` for one that is not valid.
    package static func load(bundle: String) throws -> Spec {
        let bundle = bundle.hasPrefix("/") ? bundle : Files.absolute(bundle)
        return try load(json: try Files.read(bundle + "/config.json"), bundle: bundle)
    }

    /// Validates the config.json of a bundle, and makes its paths absolute.
    ///
    /// The program that reads config.json may have any working directory.
    /// - Parameter bundle: an absolute path.
    /// - Throws: `SpecError` with the place of the first error: a JSON document that can't be decoded, or a broken
    ///   rule.
    package static func load(json: [UInt8], bundle: String) throws(SpecError) -> Spec {
        let source = bundle + "/config.json"
        var spec = try Spec.decode(json: json, source: source)
        spec.resolvePaths(in: bundle)
        try spec.validate(source: source)
        return spec
    }

    /// Makes paths absolute: the root and bind sources are relative to the bundle, destinations to the container's root
    /// (config.md).
    /// - Parameter bundle: an absolute path.
    mutating func resolvePaths(in bundle: String) {
        if let path = root?.path, !path.isEmpty { root?.path = Self.path(path, below: bundle) }
        for (index, mount) in (mounts ?? []).enumerated() {
            if !mount.destination.isEmpty {
                mounts?[index].destination = Files.absolute("/" + mount.destination)
            }
            if mount.isBind, let source = mount.source, !source.isEmpty {
                mounts?[index].source = Self.path(source, below: bundle)
            }
        }
    }

    private static func path(_ path: String, below bundle: String) -> String {
        path.hasPrefix("/") ? path : Files.absolute(bundle + "/" + path)
    }
}

extension Mount {
    package var isBind: Bool { type == "bind" || options?.contains { $0 == "bind" || $0 == "rbind" } ?? false }

    /// Whether the owners of its files are changed (config.md, "Mounts": idmap).
    package var mapsOwners: Bool { uidMappings?.isEmpty == false || gidMappings?.isEmpty == false || hasMapOption }

    private var hasMapOption: Bool { options?.contains { $0 == "idmap" || $0 == "ridmap" } ?? false }

    /// Checks the changes of owners.
    /// - Parameters:
    ///   - container: the container's own mappings, which apply to a mount that names none.
    ///   - path: the mount's place in its document.
    /// - Throws: `SpecError` for a mount that is no bind, one without mappings, and mappings that are not valid.
    func validateOwners(of container: Linux?, source document: String, at path: String) throws(SpecError) {
        if let option = options?.first(where: { $0.hasPrefix("idmap=") || $0.hasPrefix("ridmap=") }) {
            throw SpecError(document, path + ".options", "\"\(option)\": name the ids in uidMappings and gidMappings")
        }
        guard mapsOwners else { return }
        guard isBind else { throw SpecError(document, path, "only a bind mount can map the ids of its files") }
        if (uidMappings ?? []).isEmpty != (gidMappings ?? []).isEmpty {
            throw SpecError(document, path + ".uidMappings, " + path + ".gidMappings", "ids are mapped by both")
        }
        if (uidMappings ?? []).isEmpty, (container?.uidMappings ?? []).isEmpty || (container?.gidMappings ?? []).isEmpty
        {
            throw SpecError(
                document, path + ".options",
                "\"idmap\" without uidMappings and gidMappings, here or in linux: there is nothing to map by")
        }
        try IDMapping.validate(uidMappings, document, path + ".uidMappings")
        try IDMapping.validate(gidMappings, document, path + ".gidMappings")
    }

    /// - Parameter path: the mount's place in its document.
    func validatePaths(source document: String, at path: String) throws(SpecError) {
        try requireAbsolute(document, path + ".destination", destination)
        if isBind {
            guard let source, !source.isEmpty else {
                throw SpecError(document, path + ".source", "missing: a bind mount needs one")
            }
            try requireAbsolute(document, path + ".source", source)
        }
        // The kernel would resolve relative paths from the working directory of the process that mounts.
        guard type == "overlay" else { return }
        for option in options ?? [] {
            let words = option.split(separator: "=", maxSplits: 1)
            guard words.count == 2, ["lowerdir", "upperdir", "workdir"].contains(words[0]) else { continue }
            for directory in words[1].split(separator: ":") {
                try requireAbsolute(document, path + ".options", String(directory))
            }
        }
    }
}

func requireAbsolute(_ source: String, _ path: String, _ value: String) throws(SpecError) {
    guard value.hasPrefix("/"), !value.utf8.contains(0) else {
        throw SpecError(source, path, "\"\(value)\" is not an absolute path")
    }
}
