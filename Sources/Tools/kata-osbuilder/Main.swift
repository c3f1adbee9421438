import ArgumentParser

/// Builds kernels, initrds and images for guests.
@main
struct OSBuilder: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kata-osbuilder", abstract: "Builds the kernels and images that guests boot.",
        subcommands: [BuildInitrd.self, BuildImage.self, Describe.self, Kernel.self, UnpackKernel.self])
}
