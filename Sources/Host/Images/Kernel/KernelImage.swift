/// Extracts the ELF kernel from a bzImage (Documentation/arch/x86/boot.rst): booting it directly skips the kernel's own
/// decompression.
package enum KernelImage {
    /// Whether the first bytes are those of an ELF kernel or a bzImage.
    package static func isKernel(_ bytes: [UInt8]) -> Bool {
        isELF(bytes) || bytes.count > 0x250 && bytes[0x202..<0x206].elementsEqual(Array("HdrS".utf8))
    }

    /// - Returns: an ELF file; the input itself when it is one.
    /// - Throws: `ImageError` for another file, an unknown compression, and a payload that is damaged or holds no ELF
    ///   file. Also when the program that unpacks it is missing.
    package static func unpack(_ image: [UInt8]) throws -> [UInt8] {
        if isELF(image) { return image }
        guard isKernel(image) else {
            throw ImageError("neither an ELF kernel nor a bzImage")
        }
        let sectors = image[0x1f1] == 0 ? 4 : Int(image[0x1f1])
        let start = (sectors + 1) * 512 + Int(word(image, 0x248))
        let length = Int(word(image, 0x24c))
        guard start + length <= image.count, length > 8 else {
            throw ImageError("a bzImage whose payload lies beyond its end")
        }
        let payload = image[start..<start + length]
        let kernel: [UInt8]
        switch word(image, start) {
        case 0x184c_2102: kernel = try unpackLegacyLZ4(payload)
        // Except for gzip, the kernel's build appends the unpacked size in four bytes.
        case 0xfd2f_b528: kernel = try Unpack.run("/usr/bin/zstd", Array(payload.dropLast(4)))
        case 0x587a_37fd: kernel = try Unpack.run("/usr/bin/xz", Array(payload.dropLast(4)))
        case let magic where magic & 0xffff == 0x8b1f: kernel = try Unpack.run("/usr/bin/gzip", Array(payload))
        default: throw ImageError("a bzImage whose payload is packed neither by LZ4 nor zstd, xz or gzip")
        }
        guard isELF(kernel) else { throw ImageError("a bzImage whose payload is no ELF kernel") }
        return kernel
    }

    private static func isELF(_ bytes: [UInt8]) -> Bool { bytes.starts(with: [0x7f, 0x45, 0x4c, 0x46]) }

    private static func word<Bytes: RandomAccessCollection<UInt8>>(_ bytes: Bytes, _ offset: Int) -> UInt32
    where Bytes.Index == Int {
        (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << (8 * UInt32($1)) }
    }

    /// Decodes the legacy frame: a magic, then blocks with their length in front (lz4_Frame_format.md, "Legacy frame").
    private static func unpackLegacyLZ4(_ frame: ArraySlice<UInt8>) throws(ImageError) -> [UInt8] {
        var output: [UInt8] = []
        var offset = frame.startIndex + 4
        while offset + 4 <= frame.endIndex {
            let length = Int(word(frame, offset))
            offset += 4
            // The last four bytes are the unpacked size, which the kernel's build appends.
            guard length > 0, offset + length <= frame.endIndex else { break }
            try unpackBlock(frame[offset..<offset + length], into: &output)
            offset += length
        }
        return output
    }

    /// Decodes one block (lz4_Block_format.md).
    static func unpackBlock(_ block: ArraySlice<UInt8>, into output: inout [UInt8]) throws(ImageError) {
        var index = block.startIndex
        let start = output.count
        func byte() throws(ImageError) -> UInt8 {
            guard index < block.endIndex else { throw ImageError("an LZ4 block that ends too early") }
            defer { index += 1 }
            return block[index]
        }
        func extended(_ nibble: UInt8) throws(ImageError) -> Int {
            var length = Int(nibble)
            if nibble == 15 {
                while true {
                    let next = try byte()
                    length += Int(next)
                    if next != 255 { break }
                }
            }
            return length
        }
        while index < block.endIndex {
            let token = try byte()
            let literals = try extended(token >> 4)
            guard index + literals <= block.endIndex else { throw ImageError("an LZ4 block that ends too early") }
            output += block[index..<index + literals]
            index += literals
            if index == block.endIndex { return }
            let low = try byte()
            let distance = Int(low) | Int(try byte()) << 8
            let length = try extended(token & 15) + 4
            guard distance > 0, distance <= output.count - start else {
                throw ImageError("an LZ4 block that refers before its start")
            }
            guard output.count + length <= 1 << 30 else {
                throw ImageError("an LZ4 block that unpacks to more than 1 GiB")
            }
            let from = output.count - distance
            // Copies byte by byte: a slice of the output would make each append copy the whole output.
            for position in 0..<length { output.append(output[from + position]) }
        }
    }
}
