import Glibc
import LinuxKernel

/// The modules of a kernel, as depmod(8) lists them.
struct ModuleIndex {
    /// A line for each module: `PATH: DEPENDENCY…`. The last dependency has to be loaded first.
    let dependencies: String
    /// A line for each alias: `alias PATTERN MODULE`.
    let aliases: String

    /// The files of a module and of its dependencies, in loading order. Paths are relative to the index's directory.
    /// - Parameter request: the name of a module, or an alias such as `rtnl-link-bridge`.
    /// - Returns: an empty array if there is no such module.
    func files(for request: String) -> [String] {
        let name = ModuleName.normal(request[...])
        let own = files(ofModule: name)
        guard own.isEmpty else { return own }
        var files: [String] = []
        for module in modules(withAlias: name) {
            files += self.files(ofModule: module).filter { !files.contains($0) }
        }
        return files
    }

    private func files(ofModule name: String) -> [String] {
        for line in dependencies.utf8.split(separator: UInt8(ascii: "\n")) {
            guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { continue }
            let path = Substring(line[..<colon])
            guard ModuleName.ofFile(path) == name else { continue }
            let others = Substring(line[line.index(after: colon)...]).split(separator: " ")
            return others.reversed().map(String.init) + [String(path)]
        }
        return []
    }

    private func modules(withAlias name: String) -> [String] {
        var modules: [String] = []
        for line in aliases.utf8.split(separator: UInt8(ascii: "\n")) {
            let words = line.split(separator: UInt8(ascii: " "))
            guard words.count == 3, Substring(words[0]) == "alias" else { continue }
            let pattern = ModuleName.normal(Substring(words[1]))
            // SAFETY: fnmatch(3) only reads the two strings, which end with a zero.
            if unsafe fnmatch(pattern, name, 0) == 0 { modules.append(ModuleName.normal(Substring(words[2]))) }
        }
        return modules
    }
}
