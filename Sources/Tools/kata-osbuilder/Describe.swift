import ArgumentParser
import Images
import LinuxKernel

struct Describe: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Prints an initrd's metadata (osbuilder.yaml): what it was made of.")

    @Argument(help: "An initrd that is not compressed.") var initrd: String

    func run() throws {
        guard let text = Archive.file(Metadata.path, in: try Files.read(initrd, limit: 1 << 30)) else {
            throw ImageError("\(initrd): holds no \(Metadata.path)")
        }
        print(String(decoding: text, as: UTF8.self), terminator: "")
    }
}
