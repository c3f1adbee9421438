import LinuxKernel

/// The options that a kernel was built with: the lines of its .config.
package struct KernelConfiguration: Sendable, Equatable {
    /// Names and values as Kconfig writes them, without the options that are not set.
    package private(set) var values: [String: String] = [:]

    package init(text: String) {
        for line in text.split(separator: "\n") where line.hasPrefix("CONFIG_") {
            guard let equals = line.firstIndex(of: "=") else { continue }
            values[String(line[..<equals])] = String(line[line.index(after: equals)...])
        }
    }

    /// Reads a .config, or a kernel image (ELF or bzImage) that was built with CONFIG_IKCONFIG.
    /// - Throws: `SystemError` for a file that can't be read. `ImageError` for a kernel without CONFIG_IKCONFIG, and
    ///   for a file that is neither.
    package init(file: String) throws {
        let bytes = try Files.read(file, limit: 512 << 20)
        do { try self.init(bytes) } catch let error as ImageError { throw ImageError("\(file): \(error)") }
    }

    private init(_ bytes: [UInt8]) throws {
        if KernelImage.isKernel(bytes) {
            guard let packed = Self.embedded(in: try KernelImage.unpack(bytes)) else {
                throw ImageError(
                    "a kernel that doesn't tell its configuration (no CONFIG_IKCONFIG); give its .config, such as /boot/config-*"
                )
            }
            self.init(text: String(decoding: try Unpack.run("/usr/bin/gzip", packed), as: UTF8.self))
        } else {
            self.init(text: String(decoding: bytes, as: UTF8.self))
        }
        guard !values.isEmpty else { throw ImageError("neither a kernel (ELF or bzImage) nor a .config") }
    }

    /// The gzip file between the marks of kernel/configs.c.
    static func embedded(in image: [UInt8]) -> [UInt8]? {
        guard let start = find(Array("IKCFG_ST".utf8), in: image, from: 0),
            let end = find(Array("IKCFG_ED".utf8), in: image, from: start)
        else { return nil }
        return Array(image[(start + 8)..<end])
    }

    private static func find(_ mark: [UInt8], in image: [UInt8], from start: Int) -> Int? {
        var index = start
        while let next = image[index...].firstIndex(of: mark[0]), next + mark.count <= image.count {
            if image[next..<next + mark.count].elementsEqual(mark) { return next }
            index = next + 1
        }
        return nil
    }
}

/// Unpacks with the host's programs for each format.
enum Unpack {
    /// - Parameter program: decompresses from standard input to standard output (`-dc`).
    static func run(_ program: String, _ bytes: [UInt8]) throws -> [UInt8] {
        // gzip exits with status 2, a warning, when bytes follow the stream.
        try Program(program, ["-dc", "-q"]).output(
            input: bytes, accepting: { $0 == .exited(0) || $0 == .exited(2) }, task: "unpack the kernel")
    }
}
