import ArgumentParser
import Glibc
import Images
import LinuxKernel

struct Kernel: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kernel", abstract: "Builds and finds kernels for guests, and checks other kernels.",
        subcommands: [Build.self, Find.self, Check.self, Options.self])

    struct Cache: ParsableArguments {
        @Option(help: "Directory of built kernels.") var cache = "/var/cache/kata-osbuilder"
        @Option(help: "File with options (CONFIG_NAME=value) that replace the defaults; may be given more than once.")
        var fragment: [String] = []

        func fragments() throws -> [String] { try fragment.map { try Files.readText($0) } }
    }

    struct Source: ParsableArguments {
        @Option(help: "The package with the sources.") var package = "linux-source-6.1"
        @Option(help: "Its version.") var version: String

        func build(_ cache: Cache) throws -> KernelBuild {
            KernelBuild(
                source: package, version: version, compiler: try KernelBuild.installedCompiler(),
                extra: try cache.fragments())
        }
    }

    struct Build: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Builds the kernel of a linux-source package, unless it is in the cache. Prints its directory.")

        @OptionGroup var source: Source
        @OptionGroup var cache: Cache
        @Option(help: "The package's file (apt-get download); without it, search the cache only.") var archive: String?
        @Option(help: "Temporary directory, which needs 3 GB.") var work = "/var/tmp/kata-kernel-build"
        @Option(name: .shortAndLong, help: "Number of parallel compilers.") var jobs = 2

        func run() throws {
            let build = try source.build(cache)
            if let directory = build.find(in: cache.cache) { return print(directory) }
            guard let archive else {
                throw ImageError("\(cache.cache)/\(build.name): not built yet; give --archive, or run make kernel")
            }
            print(
                try build.run(
                    archive: Files.absolute(archive), work: Files.absolute(work), cache: cache.cache, jobs: jobs
                ) { writeError("kata-osbuilder: \($0)") })
        }
    }

    struct Find: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Prints the directory of the newest cached kernel; exit status 1 if there is none.")

        @OptionGroup var cache: Cache

        func run() throws {
            guard let directory = KernelBuild.newest(in: cache.cache, extra: try cache.fragments()) else {
                throw ExitCode(1)
            }
            print(directory)
        }
    }

    struct Check: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Prints the options that a kernel lacks for guests; exit status 1 if guests can't boot with it.")

        @Argument(help: "A kernel (ELF or bzImage with CONFIG_IKCONFIG) or its .config.") var kernel: String
        @Flag(help: "Also check the options that only our own kernel has.") var strict = false

        func run() throws {
            let check = KernelCheck(try KernelConfiguration(file: kernel), strict: strict)
            for finding in check.missing { print(finding) }
            if !check.modules.isEmpty {
                print(
                    "\(check.modules.count) options are modules: give their directory to kata-osbuilder initrd --modules"
                )
            }
            if check.missing.isEmpty { print("\(kernel): has all that a guest needs") }
            if !check.isUsable { throw ExitCode(1) }
        }
    }

    struct Options: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Prints the options of the guest's own kernel.")
        @OptionGroup var cache: Cache
        func run() throws { print(KernelBuild.options(try cache.fragments()), terminator: "") }
    }
}

struct UnpackKernel: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unpack-kernel", abstract: "Extracts the ELF kernel of a bzImage, for a faster boot.")

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
