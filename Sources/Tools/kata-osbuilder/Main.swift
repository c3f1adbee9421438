import ArgumentParser
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

    func run() throws {
        try Files.replace(output, try Initrd.build(agent: agent, modules: modules, extraModules: module), mode: 0o644)
    }
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
        try Files.replace(output, kernel, mode: 0o644)
    }
}
