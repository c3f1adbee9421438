import Digest
import Glibc
import Linux
import Testing

@testable import Configuration

@Suite("Annotations")
struct AnnotationsTests {
    private func apply(_ annotations: [String: String], _ toml: String = #"enable_annotations = [".*"]"#) throws
        -> Configuration
    {
        var configuration = Configuration()
        try configuration.merge(text: "[hypervisor.qemu]\ninitrd = \"/i\"\n\(toml)\n", file: "c.toml")
        return try configuration.applying(annotations, source: "config.json")
    }

    private let hypervisor = "io.katacontainers.config.hypervisor."
    private let runtime = "io.katacontainers.config.runtime."

    @Test("an annotation of the hypervisor needs an expression that is found in its name; others need none")
    func gate() throws {
        func memory(_ expressions: String) -> Int? {
            try? apply([hypervisor + "default_memory": "512"], "enable_annotations = [\(expressions)]").number(
                Keys.memory)
        }
        #expect(memory("\"default_memory\"") == 512 && memory("\"memory\"") == 512 && memory("\"^k\", \"y$\"") == 512)
        for expressions in ["", "\"^memory\"", "\"kernel\""] { #expect(memory(expressions) == nil) }
        #expect(try apply([runtime + "disable_guest_seccomp": "true"], "").flag(Keys.disableGuestSeccomp))
        #expect(try apply(["somebody.else/memory": "512"], "").number(Keys.memory) == 2048)
    }

    @Test("each kind of value is read as Kata reads it")
    func values() throws {
        let result = try apply(
            [
                hypervisor + "default_vcpus": "1.5", hypervisor + "disable_vhost_net": "T",
                hypervisor + "machine_type": "", hypervisor + "virtio_fs_extra_args": #"["-o", "a b"]"#,
                hypervisor + "kernel_params": "a=2 c", hypervisor + "image": "/j",
                hypervisor + "default_max_vcpus": "3",
            ], "enable_annotations = [\".*\"]\nkernel_params = \"a=1 b\"\ninitrd_hash = \"00\"")
        #expect(
            result.number(Keys.vcpus) == 2 && result.number(Keys.maxVCPUs) == 3 && result.flag(Keys.disableVhostNet))
        #expect(result.text(Keys.machineType) == "q35")
        #expect(result.list(Keys.virtioFSExtraArguments).suffix(2) == ["-o", "a b"])
        #expect(result.text(Keys.kernelParameters) == "b a=2 c")
        #expect(result.text(Keys.image) == "/j" && result.text(Keys.initrd) == "" && result.text(Keys.initrdHash) == "")
    }

    @Test(
        "what is refused is told in one line with the annotation's name",
        arguments: [
            ("hypervisor.kernel", "/k", "", "is not enabled (hypervisor.qemu.enable_annotations)"),
            ("hypervisor.nonsense", "1", ".*", "is unknown"), ("runtime.nonsense", "1", "", "is unknown"),
            ("hypervisor.default_memory", "much", ".*", "is \"much\": expected a number"),
            ("hypervisor.default_memory", "1", ".*", "is 1: 1 is not within 64 and 4194304"),
            ("hypervisor.shared_fs", "nfs", ".*", "is nfs: \"nfs\" is not one of virtio-fs"),
            ("runtime.disable_new_netns", "yes", "", "is \"yes\": expected true or false"),
            ("hypervisor.virtio_fs_extra_args", "x", ".*", "is \"x\": expected a JSON list of strings"),
            ("hypervisor.path", "/bin/sh", ".*", "is /bin/sh: not one of hypervisor.qemu.valid_hypervisor_paths"),
            ("hypervisor.asset_hash_type", "md5", ".*", "is \"md5\": hashes are sha512"),
        ])
    func refusals(name: String, value: String, enabled: String, reason: String) {
        do {
            _ = try apply(
                ["io.katacontainers.config." + name: value],
                enabled.isEmpty ? "" : "enable_annotations = [\"\(enabled)\"]")
            Issue.record("accepted")
        } catch { #expect("\(error)" == "config.json: annotation io.katacontainers.config.\(name) \(reason)") }
    }

    @Test("a path that its list allows is taken; an expression that is none is told; a key without effect is a warning")
    func listsAndWarnings() throws {
        #expect(
            try apply(
                [hypervisor + "path": "/bin/sh"],
                "enable_annotations = [\"path\"]\nvalid_hypervisor_paths = [\"/b*/s?\"]"
            ).text(Keys.path) == "/bin/sh")
        do {
            _ = try apply([hypervisor + "path": "/bin/sh"], "enable_annotations = [\"(\"]")
            Issue.record("accepted")
        } catch { #expect("\(error)".contains("hypervisor.qemu.enable_annotations: \"(\": Unmatched ( or")) }
        #expect(try apply([hypervisor + "enable_iommu": "true"]).warnings.last?.hasSuffix("has no effect yet") == true)
    }

    @Test("a file is used only with the hash that is given for it")
    func hashes() throws {
        let file = "/tmp/kata-hash-test-\(UInt32.random(in: 0...UInt32.max))"
        defer { unlink(file) }
        try Files.write(file, "abc")
        // FIPS 180-4's example.
        let hash =
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            + "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        #expect(try SHA512.hex(ofFile: file) == hash)
        let toml =
            "enable_annotations = [\".*\"]\npath = \"/bin/sh\"\nvirtio_fs_daemon = \"/bin/sh\"\nkernel_hash = \"00\""
        func verdict(_ given: String?) -> String? {
            var annotations = [hypervisor + "kernel": file, hypervisor + "initrd": file]
            annotations[hypervisor + "kernel_hash"] = given
            do {
                try apply(annotations, toml).checkFiles()
                return nil
            } catch { return "\(error)" }
        }
        // The configuration's hash is that of its own kernel.
        #expect(verdict(nil) == nil && verdict(hash.uppercased()) == nil)
        #expect(
            verdict("ab12")
                == "annotation \(hypervisor)kernel_hash: \(file) has the SHA-512 ddaf35a193617aba…, not ab12…")
    }
}
