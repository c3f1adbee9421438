import Linux

/// An initrd with the agent as /init: the smallest guest there is.
package enum Initrd {
    /// - Parameters:
    ///   - agent: the static agent's file.
    ///   - modules: /lib/modules/<version> of the guest's kernel; nil for a kernel without modules.
    /// - Returns: a cpio archive; the same inputs give the same bytes.
    package static func build(agent: String, modules: String?, extraModules: [String] = []) throws -> [UInt8] {
        let binary = try Files.read(agent, limit: 256 << 20)
        guard binary.starts(with: [0x7f, 0x45, 0x4c, 0x46]) else { throw ImageError("\(agent): not an executable") }
        var archive = Archive()
        for directory in ["dev", "proc", "sys", "run", "tmp", "etc"] { archive.addDirectory(directory) }
        // The kernel opens it before anything is mounted, for the standard streams of /init.
        archive.addCharacterDevice("dev/console", mode: 0o600, major: 5, minor: 1)
        archive.addFile("init", mode: 0o755, content: binary)
        if let modules {
            let modules = try KernelModules(directory: modules)
            let first = try modules.resolve(KernelModules.boot)
            let all = try modules.resolve(KernelModules.boot + KernelModules.later + extraModules)
            var lists = (boot: "", later: "")
            for module in all {
                let path = "lib/modules/\(module.name).ko"
                archive.addFile(path, content: module.content)
                if first.contains(where: { $0.name == module.name }) {
                    lists.boot += "/\(path)\n"
                } else {
                    lists.later += "/\(path)\n"
                }
            }
            archive.addFile("etc/kata-modules", content: Array(lists.boot.utf8))
            archive.addFile("etc/kata-modules-later", content: Array(lists.later.utf8))
        }
        return archive.finish()
    }
}
