import LinuxKernel

/// The modules of a distribution's kernel, and those of them that a guest needs.
package struct KernelModules {
    /// The modules that a guest needs to boot: its bus, its share and its channel, in loading order.
    package static let boot = [
        "virtio_pci", "virtio_mmio", "virtio_rng", "fuse", "virtiofs", "vsock", "vmw_vsock_virtio_transport",
    ]
    /// The modules that containers may need: disks, links, consoles and file systems. Loaded after the guest is up.
    package static let later = [
        "virtio_blk", "virtio_scsi", "sd_mod", "virtio_net", "virtio_console", "virtio_mem", "virtio_balloon",
        "overlay", "erofs",
    ]

    package let directory: String
    /// Maps module names, with underscores, to files below the directory.
    private let files: [String: String]
    private let builtIn: Set<String>

    /// - Parameter directory: /lib/modules/<version> of an unpacked package.
    /// - Throws: `ImageError` for a directory without modules, `SystemError` for one that can't be read.
    package init(directory: String) throws {
        self.directory = directory
        var files: [String: String] = [:]
        func scan(_ path: String) throws {
            for name in try Files.names(ifPresent: directory + "/" + path) {
                let child = path + "/" + name
                if name.hasSuffix(".ko") {
                    files[ModuleName.ofFile(name[...])] = child
                } else if Files.isDirectory(directory + "/" + child) {
                    try scan(child)
                }
            }
        }
        try scan("kernel")
        self.files = files
        let list = (try? Files.readText(directory + "/modules.builtin")) ?? ""
        builtIn = Set(list.split(separator: "\n").map { ModuleName.ofFile($0) })
        guard !files.isEmpty else { throw ImageError("\(directory): holds no kernel modules (kernel/**/*.ko)") }
    }

    /// The files of `names` and of their dependencies, each after the modules that it needs.
    /// - Throws: `ImageError` for a module that is neither there nor built in. `SystemError` for a file that can't be
    ///   read.
    package func resolve(_ names: [String]) throws -> [(name: String, content: [UInt8])] {
        var result: [(name: String, content: [UInt8])] = []
        var seen: Set<String> = []
        func visit(_ name: String, for user: String?) throws {
            guard seen.insert(name).inserted, !builtIn.contains(name) else { return }
            guard let file = files[name] else {
                throw ImageError(
                    "\(directory): module \(name)\(user.map { " (needed by \($0))" } ?? "") is neither there nor built in"
                )
            }
            let content = try Files.read(directory + "/" + file)
            for dependency in Self.dependencies(content) { try visit(ModuleName.normal(dependency[...]), for: name) }
            result.append((name, content))
        }
        for name in names { try visit(name, for: nil) }
        return result
    }

    /// The `depends=` entry of a module's .modinfo section.
    static func dependencies(_ module: [UInt8]) -> [String] {
        let key = Array("\0depends=".utf8)
        var index = 0
        while index + key.count <= module.count {
            guard let zero = module[index...].firstIndex(of: 0), zero + key.count <= module.count else { return [] }
            if module[zero + 1] == key[1], module[zero..<zero + key.count].elementsEqual(key) {
                let value = module[(zero + key.count)...].prefix { $0 != 0 }
                return String(decoding: value, as: UTF8.self).split(separator: ",").map(String.init)
            }
            index = zero + 1
        }
        return []
    }
}

/// The reason why an image can't be made, in one line.
package struct ImageError: Error, Equatable, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}
