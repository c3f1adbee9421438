extension KeySet {
    /// The text of docs/configuration.md.
    package var reference: String {
        var page = """
            # configuration.toml

            The runtime reads `/etc/kata-containers/configuration.toml`, or else
            `/usr/share/defaults/kata-containers/configuration.toml`. Then it reads `config.d/*.toml` beside that file, in order of
            names; a later file replaces single keys of an earlier one. A misspelt key is a warning, a wrong value an error.
            This page is written from the declarations in the sources. Kata's other keys are accepted and have no effect yet.

            ## Annotations

            An annotation `io.katacontainers.config.…` of a pod's sandbox sets a key for that pod. The runtime refuses it in these
            cases, with a line that names the annotation, its value, and the key that decides:

            - No expression of `enable_annotations` matches the whole last part of the name. `kernel` enables the annotation
              `….hypervisor.kernel`, but not `kernel_params` or `kernel_hash`; `kernel.*` enables all three. Unlike in Kata, this
              rule holds for `….runtime.…` and `….agent.…` too, and a match of a part of the name enables nothing.
            - It gives a path that matches no pattern of the key that lists the allowed paths. Symbolic links are followed first:
              the path without links is compared and opened. A list is empty by default. Don't allow paths that a pod can write to.
            - It loosens a setting of the files: each key below tells which values an annotation may have. The value of the files
              is always allowed.
            - It gives a kernel, initrd or image without its hash, although the files have a hash for theirs.

            """
        for table in tables {
            page += "\n## [\(table)]\n\n| key | default | annotation | meaning |\n|---|---|---|---|\n"
            page += keys(of: table).map(Self.row).joined()
        }
        return page
    }

    private static func row(_ key: any AnyKey) -> String {
        let words = key.allowed.map { $0.isEmpty ? "empty" : "`\($0)`" }.joined(separator: ", ")
        let allowed = words.isEmpty ? "" : " One of " + words + "."
        let range = key.range.map { " From \($0.lowerBound) to \($0.upperBound)." } ?? ""
        let annotation = key.annotation.map { "`…\($0.dropFirst(Annotations.root.count))`" } ?? ""
        let meaning = key.help + allowed + range + (key.rule?.help ?? "")
        return "| `\(key.name)` | `\(key.defaultValue)` | \(annotation) | \(meaning) |\n"
    }
}
