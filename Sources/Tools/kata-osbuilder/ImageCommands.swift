import ArgumentParser
import Glibc
import Images
import LinuxKernel

extension GuestImage.Initial: ExpressibleByArgument {}
extension DiskImage.Format: ExpressibleByArgument {}

/// The options of initrds and images.
struct Contents: ParsableArguments {
    @Option(help: "The static kata-agent.") var agent: String
    @Option(name: .customLong("init"), help: "Process 1 of the guest: agent or systemd.") var initial =
        GuestImage.Initial.agent
    @Option(
        help: "The kernel's /lib/modules/<version>, from its unpacked package. Leave out for a kernel without modules.")
    var modules: String?
    @Option(help: "A further module to load; may be given more than once.") var module: [String] = []
    @Option(help: "HOST:GUEST: a file or directory to add, such as guest hooks; may be given more than once.") var add:
        [String] = []
    @Flag(help: "Add a shell (the host's static busybox), for the debug console.") var debugShell = false
    @Option(name: .shortAndLong, help: "The file to write.") var output: String

    func image() throws -> GuestImage {
        var image = GuestImage(agent: agent)
        image.initial = initial
        image.modules = modules
        image.extraModules = module
        image.additions = try add.map { pair in
            let parts = pair.split(separator: ":").map(String.init)
            guard parts.count == 2 else { throw ImageError("--add \(pair): expected HOST:GUEST") }
            return (parts[0], parts[1])
        }
        if debugShell {
            let busybox = "/bin/busybox"
            guard Files.exists(busybox) else {
                throw ImageError("--debug-shell: \(busybox) is missing; install busybox-static")
            }
            image.busybox = busybox
        }
        return image
    }
}

struct BuildInitrd: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "initrd",
        abstract: "Builds an initrd with the agent as init. Needs no root; the same inputs give the same bytes.")

    @OptionGroup var contents: Contents

    func run() throws { try Files.replace(contents.output, try contents.image().initrd(), mode: 0o644) }
}

struct BuildImage: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "image",
        abstract: "Builds a root file system image. With the agent as init it needs no root.")

    @OptionGroup var contents: Contents
    @Option(help: "erofs (read-only, the same inputs give the same bytes) or ext4.") var format = DiskImage.Format.erofs
    @Option(help: "A further Debian package, with --init systemd; may be given more than once.") var package: [String] =
        []
    @Option(help: "With --init systemd: a root directory that debootstrap has made.") var rootfs: String?

    func run() throws {
        let image = try contents.image()
        switch contents.initial {
        case .agent:
            guard package.isEmpty, rootfs == nil else {
                throw ImageError("--package and --rootfs go with --init systemd")
            }
            try image.disk(format, output: contents.output)
        case .systemd:
            guard image.modules == nil, image.extraModules.isEmpty else {
                throw ImageError("--modules goes with --init agent: systemd's image needs a kernel without modules")
            }
            guard package.isEmpty || rootfs == nil else {
                throw ImageError("--package and --rootfs exclude each other: the directory has its packages already")
            }
            var debian = DebianImage(image)
            debian.extraPackages = package
            debian.base = rootfs
            try debian.disk(format, output: contents.output) { writeError("kata-osbuilder: \($0)") }
        }
    }
}
