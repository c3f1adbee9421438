import ArgumentParser
import Images
import LinuxKernel

struct Describe: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Prints an initrd's metadata (osbuilder.yaml), which lists its contents.")

    @Argument(help: "An uncompressed initrd.") var initrd: String

    func run() throws {
        guard let text = Archive.file(Metadata.path, in: try Files.read(initrd, limit: 1 << 30)) else {
            throw ImageError("\(initrd): holds no \(Metadata.path)")
        }
        print(String(decoding: text, as: UTF8.self), terminator: "")
    }
}
