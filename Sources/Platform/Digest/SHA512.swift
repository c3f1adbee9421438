import CMessageDigest
import Glibc
import LinuxKernel

/// SHA-512, which Kata uses for hashes of kernels and images.
package enum SHA512 {
    /// The hash of `bytes` in lower-case hexadecimal: 128 digits.
    package static func hex(of bytes: [UInt8]) -> String {
        var context = SHA2_CTX()
        // SAFETY: the calls read the bytes within their count, and write to `context`.
        unsafe SHA512Init(&context)
        unsafe SHA512Update(&context, bytes, bytes.count)
        return finish(&context)
    }

    /// The hash of a whole file.
    /// - Throws: `SystemError` when the file can't be opened or read.
    package static func hex(ofFile path: String) throws(SystemError) -> String {
        let file = try FileDescriptor.open(path, O_RDONLY)
        return try hex(of: file, path)
    }

    /// The hash of a whole open file, read in pieces from its start. Leaves the file's offset as it is.
    /// - Parameter path: names the file in errors.
    /// - Throws: `SystemError` when the file can't be read.
    package static func hex(of file: borrowing FileDescriptor, _ path: String) throws(SystemError) -> String {
        let raw = file.raw
        var offset = 0
        var context = SHA2_CTX()
        // SAFETY: the calls write only to `context` and `chunk`, and hash only the bytes that pread(2) has read.
        unsafe SHA512Init(&context)
        var chunk = [UInt8](repeating: 0, count: 1 << 20)
        while true {
            let count = try check("read", path) { unsafe pread(raw, &chunk, chunk.count, off_t(offset)) }
            if count == 0 { return finish(&context) }
            unsafe SHA512Update(&context, chunk, Int(count))
            offset += count
        }
    }

    private static func finish(_ context: inout SHA2_CTX) -> String {
        var digest = [UInt8](repeating: 0, count: Int(SHA512_DIGEST_LENGTH))
        // SAFETY: the digest has SHA512_DIGEST_LENGTH bytes.
        unsafe SHA512Final(&digest, &context)
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}
