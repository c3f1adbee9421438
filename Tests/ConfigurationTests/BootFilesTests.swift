import Digest
import Glibc
import LinuxKernel
import Shim
import TestSupport
import Testing

@testable import Configuration

@Suite("What a machine boots from")
struct BootFilesTests {
    private let scratch = Scratch()
    private var kernel: String { scratch.path + "/kernel" }

    private func open(_ toml: String, _ annotations: [String: String] = [:]) throws -> BootFiles {
        try Files.write(kernel, "kernel")
        try Files.write(scratch.path + "/initrd", "initrd", mode: 0o644)
        var configuration = Configuration(keys: .all)
        try configuration.merge(
            text: """
                [hypervisor.qemu]
                path = "/bin/sh"
                virtio_fs_daemon = "/bin/sh"
                kernel = "\(kernel)"
                initrd = "\(scratch.path)/initrd"
                enable_annotations = [".*"]
                valid_kernel_paths = ["\(scratch.path)/*"]
                \(toml)

                """, file: "c.toml")
        let prefix = "io.katacontainers.config.hypervisor."
        let named = [String: String](uniqueKeysWithValues: annotations.map { (prefix + $0, $1) })
        return try configuration.applying(named, source: "config.json").openFiles()
    }

    /// Reads the content as a process that opens the descriptor again.
    private func content(_ file: OpenFile?) throws -> String {
        let raw = try #require(file?.file).raw
        return try Files.readText("/proc/self/fd/\(raw)")
    }

    @Test("QEMU gets the file that was hashed, not what has its path later")
    func replaced() throws {
        let files = try open("kernel_hash = \"\(SHA512.hex(of: Array("kernel".utf8)))\"")
        try Files.replace(kernel, "another")
        #expect(try content(files.kernel) == "kernel" && content(files.initrd) == "initrd")
    }

    @Test("a pod's file with a hash is copied before it is hashed: later writes to it have no effect")
    func rewritten() throws {
        let hash = SHA512.hex(of: Array("kernel".utf8))
        let files = try open("", ["kernel": kernel, "kernel_hash": hash])
        try Files.write(kernel, "other!")
        #expect(try content(files.kernel) == "kernel")
        // Without a hash, the file's present content counts.
        let others = try open("", ["kernel": kernel])
        try Files.write(kernel, "other!")
        #expect(try content(others.kernel) == "other!")
    }

    @Test("with rootless, a file that another user could not read is copied; others are not")
    func rootless() throws {
        let files = try open("rootless = true")
        try Files.write(kernel, "other!")
        try Files.write(scratch.path + "/initrd", "other!")
        #expect(try content(files.kernel) == "kernel" && content(files.initrd) == "other!")
    }

    @Test("a pod's path that has got a link in it since it was matched is not opened")
    func exchanged() throws {
        try Files.makeDirectory(scratch.path + "/d")
        try Files.write(scratch.path + "/d/kernel", "kernel")
        var configuration = Configuration(keys: .all)
        try configuration.merge(
            text:
                "[hypervisor.qemu]\npath = \"/bin/sh\"\nvirtio_fs_daemon = \"/bin/sh\"\ninitrd = \"/i\"\nenable_annotations = [\"kernel\"]\nvalid_kernel_paths = [\"\(scratch.path)/*/kernel\"]\n",
            file: "c.toml")
        let pod = try configuration.applying(
            ["io.katacontainers.config.hypervisor.kernel": scratch.path + "/d/kernel"], source: "config.json")
        #expect(rename(scratch.path + "/d", scratch.path + "/e") == 0 && symlink("e", scratch.path + "/d") == 0)
        let error = #expect(throws: ConfigurationError.self) { try pod.openFiles() }
        #expect(error?.reason.contains("too many") == true || error?.reason.contains("ELOOP") == true, "\(error!)")
    }

    @Test("a file that is missing, or no file, is named with its key")
    func missing() {
        for (toml, reason) in [
            ("firmware = \"/nowhere/f\"", "c.toml:8: hypervisor.qemu.firmware: /nowhere/f: no such file"),
            (
                "firmware = \"/tmp\"",
                "c.toml:8: hypervisor.qemu.firmware: use (it is no regular file) /tmp: invalid argument"
            ),
        ] {
            let error = #expect(throws: ConfigurationError.self) { try open(toml) }
            #expect(error.map { "\($0)" } == reason)
        }
        #expect(throws: Never.self) { try open("firmware = \"bios-256k.bin\"") }
    }
}
