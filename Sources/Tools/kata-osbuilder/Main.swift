import ArgumentParser
import Glibc
import Images
import Linux

/// Builds what a guest boots.
@main
struct OSBuilder: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kata-osbuilder", abstract: "Builds the kernels and images that guests boot.",
        subcommands: [BuildInitrd.self, UnpackKernel.self])
}

struct BuildInitrd: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "initrd",
        abstract: "Builds an initrd with the agent as init. Needs no root; the same inputs give the same bytes.")

    @Option(help: "The static kata-agent.") var agent: String
    @Option(
        help: "The kernel's /lib/modules/<version>, from its unpacked package. Leave out for a kernel without modules.")
    var modules: String?
    @Option(help: "A further module to load; may be given more than once.") var module: [String] = []
    @Option(name: .shortAndLong, help: "The initrd to write.") var output: String

    func run() throws { try write(try Initrd.build(agent: agent, modules: modules, extraModules: module), to: output) }
}

struct UnpackKernel: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unpack-kernel", abstract: "Takes the ELF kernel out of a bzImage, for a faster boot.")

    @Argument(help: "The kernel's image, such as boot/vmlinuz-* of its package.") var image: String
    @Option(name: .shortAndLong, help: "The ELF kernel to write.") var output: String

    func run() throws {
        let kernel: [UInt8]
        do { kernel = try KernelImage.unpack(try Files.read(image, limit: 256 << 20)) } catch let error as ImageError {
            throw ImageError("\(image): \(error)")
        }
        try write(kernel, to: output)
    }
}

/// Writes a whole file in one step: no half image is ever there under its name.
private func write(_ bytes: [UInt8], to path: String) throws {
    let temporary = path + ".new"
    let file = try FileDescriptor.open(temporary, O_WRONLY | O_CREAT | O_TRUNC, mode: 0o644)
    var rest = bytes[...]
    while !rest.isEmpty {
        let count = try check("write", temporary) {
            rest.withUnsafeBytes { Glibc.write(file.raw, $0.baseAddress, $0.count) }
        }
        rest = rest.dropFirst(count)
    }
    try check("rename", temporary) { rename(temporary, path) }
}
