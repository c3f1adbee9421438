extension Keys {
    /// docs/configuration.md.
    package static var reference: String {
        var page = """
            # configuration.toml

            `/etc/kata-containers/configuration.toml` is read, or else `/usr/share/defaults/kata-containers/configuration.toml`; then
            `config.d/*.toml` beside it, in order of names: a later file wins key by key. A misspelt key is a warning, a wrong value an error.
            Written from `Sources/Host/Configuration/Keys.swift`; Kata's other keys are accepted and have no effect yet.

            ## Annotations

            An annotation `io.katacontainers.config.…` of a pod's sandbox sets a key for that pod. It is refused in each of these cases, with a line
            that names the annotation, its value, and the key that decides:

            - No expression of `enable_annotations` matches the last part of its name, the whole of it: `kernel` enables the annotation
              `….hypervisor.kernel`, not `kernel_params` or `kernel_hash`; `kernel.*` enables all three. Unlike in Kata this holds for `….runtime.…` and
              `….agent.…` too, and an expression that matches only a part of the name enables nothing.
            - It gives a path, and no pattern of the key that lists such paths matches the file. Links are followed first, and the path without links
              is what is compared and opened. Such a list is empty unless it is set. A pod must not be able to write to what a list allows.
            - It loosens what the files say: the keys below tell what an annotation may ask for. The value of the files is always allowed.
            - It gives a kernel, initrd or image without its hash, where the files have a hash for theirs.

            """
        var table = ""
        for key in all {
            if key.table != table {
                table = key.table
                page += "\n## [\(table)]\n\n| key | standard value | annotation | meaning |\n|---|---|---|---|\n"
            }
            let allowed =
                key.allowed.isEmpty ? "" : " One of " + key.allowed.map { "`\($0)`" }.joined(separator: ", ") + "."
            let range =
                key.range.map { " From \(Value.number($0.lowerBound)) to \(Value.number($0.upperBound))." } ?? ""
            let rule = key.rule?.help ?? ""
            let annotation = key.annotation.map { "`…\($0.dropFirst(Annotations.root.count))`" } ?? ""
            page += "| `\(key.name)` | `\(key.standard)` | \(annotation) | \(key.help)\(allowed)\(range)\(rule) |\n"
        }
        return page
    }
}
