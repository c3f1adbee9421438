import Glibc
import LinuxKernel
import OCISpec

/// A container's bundle, with its config.json as it was read once.
struct Bundle {
    /// Absolute, without symbolic links.
    let path: String
    /// config.json.
    let json: [UInt8]
    let spec: Spec

    var specPath: String { path + "/config.json" }
    var rootfs: String { spec.root?.path ?? path + "/rootfs" }

    /// - Throws: `SystemError` for a directory or file that can't be read, `SpecError` for a config.json that is not
    ///   valid.
    init(_ given: String) throws {
        guard let real = Files.real(given) else { throw SystemError("use bundle", given, errno: errno) }
        path = real
        json = try Files.read(path + "/config.json")
        spec = try Spec.load(json: json, bundle: path)
    }
}
