import LinuxKernel

/// The user space that a guest boots beside its kernel.
package struct GuestImage: Sendable {
    /// The program that is process 1.
    package enum Initial: String, Sendable, CaseIterable { case agent, systemd }

    /// The path of the static agent.
    package var agent: String
    package var initial = Initial.agent
    /// /lib/modules/<version> of the guest's kernel; nil: a kernel without modules.
    package var modules: String?
    package var extraModules: [String] = []
    /// Files and directories of the host with their paths in the guest.
    package var additions: [(source: String, path: String)] = []
    /// The path of a static busybox, the shell of the debug console; nil: no shell.
    package var busybox: String?

    package init(agent: String) { self.agent = agent }

    /// Makes a cpio archive with the agent as /init, the smallest guest. The same inputs give the same bytes.
    /// - Throws: `ImageError` when the guest's first process is systemd. `SystemError` for a file of the host that
    ///   can't be read.
    package func initrd() throws -> [UInt8] {
        guard initial == .agent else {
            throw ImageError(
                "an initrd with systemd can't be: systemd takes an initrd for a stage before the real root, and waits for one; build an image, or an initrd with --init agent"
            )
        }
        return try Archive(try tree(initPath: "init", metadata: Metadata(self))).finish()
    }

    /// The files that the agent needs as process 1.
    func tree(initPath: String, metadata: Metadata) throws -> FileTree {
        var tree = FileTree()
        for directory in ["dev", "proc", "sys", "run", "tmp", "etc", "var"] { tree.add(directory, .directory) }
        // The kernel opens it for the standard streams of /init, before anything is mounted.
        tree.add("dev/console", .characterDevice(mode: 0o600, major: 5, minor: 1))
        tree.add(initPath, try program(agent))
        try add(modulesTo: &tree)
        try addCommon(to: &tree, metadata)
        return tree
    }

    /// The files that every guest has.
    func addCommon(to tree: inout FileTree, _ metadata: Metadata) throws {
        if let busybox {
            tree.add("bin/busybox", try program(busybox))
            tree.add("bin/sh", .link(to: "busybox"))
        }
        for (source, path) in additions { try tree.add(copyOf: source, at: path) }
        tree.add(Metadata.path, text: metadata.text)
    }

    func program(_ path: String) throws -> FileTree.Node {
        let binary = try Files.read(path, limit: 256 << 20)
        guard binary.starts(with: [0x7f, 0x45, 0x4c, 0x46]) else { throw ImageError("\(path): not an executable") }
        return .file(binary, mode: 0o755)
    }

    private func add(modulesTo tree: inout FileTree) throws {
        guard let modules else { return }
        let found = try KernelModules(directory: modules)
        let first = Set(try found.resolve(KernelModules.boot).map(\.name))
        var lists = (boot: "", later: "")
        for module in try found.resolve(KernelModules.boot + KernelModules.later + extraModules) {
            let path = "lib/modules/\(module.name).ko"
            tree.add(path, .file(module.content, mode: 0o644))
            if first.contains(module.name) { lists.boot += "/\(path)\n" } else { lists.later += "/\(path)\n" }
        }
        tree.add("etc/kata-modules", text: lists.boot)
        tree.add("etc/kata-modules-later", text: lists.later)
    }
}
