import AgentAPI
import CLinux
import Glibc
import LinuxKernel

/// The directory with modules of the guest's kernel that the host shares (`guest_modules_path`).
struct ModuleDirectory {
    private let path: String

    /// - Parameter release: of the running kernel (uname(2)).
    init(parent: String = GuestPaths.modules, release: String = Self.kernelRelease) {
        path = parent + "/" + release
    }

    private static var kernelRelease: String {
        ((try? Files.readText("/proc/sys/kernel/osrelease")) ?? "").split(separator: "\n").first.map(String.init) ?? ""
    }

    /// Loads a module after its dependencies.
    /// - Parameters:
    ///   - request: its name, or an alias.
    ///   - parameters: for the module itself, separated by spaces.
    /// - Returns: false if the directory has no such module.
    /// - Throws: `SystemError` of a module that the kernel refuses, or of a file that can't be read.
    func load(_ request: String, parameters: String = "") throws(SystemError) -> Bool {
        guard Files.exists(path + "/modules.dep") else { return false }
        let index = ModuleIndex(
            dependencies: try Files.readText(path + "/modules.dep"),
            aliases: try Files.readText(path + "/modules.alias"))
        let files = index.files(for: request)
        let commandLine = KernelCommandLine.current
        for file in files {
            let own = file == files.last && !parameters.isEmpty
            try Self.load(path + "/" + file, own ? parameters : commandLine.parameters(ofModule: file))
        }
        return !files.isEmpty
    }

    /// Whether the kernel shows a module as its own. It shows those that have parameters or a version.
    static func isBuiltIn(_ name: String) -> Bool {
        Files.exists("/sys/module/" + ModuleName.normal(name[...]))
    }

    /// Loads one module. One that is loaded already, or built into the kernel, is no error.
    static func load(_ path: String, _ parameters: String) throws(SystemError) {
        let file = try FileDescriptor.open(path, O_RDONLY)
        // The kernel decompresses what doesn't end in .ko (CONFIG_MODULE_DECOMPRESS).
        // SAFETY: the call only reads the parameters, which end with NUL.
        let result = unsafe clx_load_module(file.raw, parameters, path.hasSuffix(".ko") ? 0 : 1)
        if result < 0, result != -EEXIST { throw SystemError("load module", path, errno: -result) }
    }
}

/// A module of `kernel_modules` that the guest can't have.
struct ModuleError: Error, Equatable, CustomStringConvertible {
    let name: String
    var description: String {
        "kernel_modules: \(name) is neither in the guest's kernel nor below guest_modules_path of the configuration"
    }
}
