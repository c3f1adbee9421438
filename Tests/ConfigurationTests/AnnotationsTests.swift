import Glibc
import LinuxKernel
import Shim
import TestSupport
import Testing

@testable import Configuration
@testable import QEMU
@testable import Share

@Suite("Annotations")
struct AnnotationsTests {
    private func apply(_ annotations: [String: String], _ toml: String = #"enable_annotations = [".*"]"#) throws
        -> Configuration
    {
        var configuration = Configuration(keys: .all)
        try configuration.merge(text: "[hypervisor.qemu]\ninitrd = \"/i\"\n\(toml)\n", file: "c.toml")
        return try configuration.applying(annotations, source: "config.json")
    }

    private let hypervisor = "io.katacontainers.config.hypervisor."
    private let runtime = "io.katacontainers.config.runtime."

    @Test(
        "an expression that matches the whole last part of its name enables an annotation, one that matches a piece does not"
    )
    func gate() throws {
        func memory(_ expressions: String) -> Int? {
            try? apply([hypervisor + "default_memory": "512"], "enable_annotations = [\(expressions)]")[
                Keys.memory]
        }
        for expressions in [
            "\"default_memory\"", "\"^default_memory$\"", "\"^k\", \".*y\"", "\"x|default_(memory|vcpus)\"",
            "\"enable_iommu\", \"default_memory\"",
        ] { #expect(memory(expressions) == 512, "\(expressions)") }
        for expressions in ["", "\"memory\"", "\"^default\"", "\"y$\"", "\"default_memory|\"x", "\"kernel\""] {
            #expect(memory(expressions) == nil, "\(expressions)")
        }
        // The longest of several matches counts.
        #expect(memory("\"default|default_memory\"") == 512)
        #expect(try apply(["somebody.else/memory": "512"], "")[Keys.memory] == 2048)
    }

    @Test("Kata's list enables what it names, and nothing that contains a name of it")
    func katasList() throws {
        let toml = #"enable_annotations = ["enable_iommu", "virtio_fs_extra_args", "kernel_params"]"#
        let result = try apply([hypervisor + "kernel_params": "a=1", hypervisor + "enable_iommu": "true"], toml)
        #expect(result[Keys.kernelParameters] == "a=1" && result.warnings.count == 1)
        #expect(throws: ConfigurationError.self) { try apply([hypervisor + "enable_iommu_platform": "true"], toml) }
    }

    @Test("annotations of the runtime and the agent need permission as those of the hypervisor do")
    func otherTables() throws {
        let annotations = [runtime + "create_container_timeout": "7"]
        #expect(throws: ConfigurationError.self) { try apply(annotations, "") }
        #expect(try apply(annotations, #"enable_annotations = ["create_.*"]"#)[Keys.createTimeout] == 7)
        let agent = ["io.katacontainers.config.agent.enable_tracing": "true"]
        #expect(throws: ConfigurationError.self) { try apply(agent, "") }
        #expect(try apply(agent).warnings.last?.hasSuffix("has no effect yet") == true)
    }

    @Test("each kind of value is read as Kata reads it")
    func values() throws {
        let image = Scratch()
        try Files.write(image.path + "/image", "")
        let path = try #require(Files.real(image.path + "/image"))
        let result = try apply(
            [
                hypervisor + "default_vcpus": "1.5", hypervisor + "disable_vhost_net": "T",
                hypervisor + "machine_type": "", hypervisor + "virtio_fs_extra_args": #"["-o", "timeout=5"]"#,
                hypervisor + "kernel_params": "a=2 c", hypervisor + "image": path,
                hypervisor + "default_max_vcpus": "3",
            ],
            "enable_annotations = [\".*\"]\nvalid_image_paths = [\"\(image.path)/*\"]\nkernel_params = \"a=1 b\"")
        #expect(
            Int(result[Keys.vcpus].rounded(.up)) == 2 && result[Keys.maxVCPUs] == 3 && result[Keys.disableVhostNet])
        #expect(result[Keys.machineType] == "q35")
        #expect(result[Keys.virtioFSExtraArguments].suffix(2) == ["-o", "timeout=5"])
        #expect(result[Keys.kernelParameters] == "b a=2 c")
        #expect(result[Keys.image] == path && result[Keys.initrd] == "")
    }

    @Test(
        "a refusal is one line with the annotation, its value, and the key that decides with its place",
        arguments: [
            (
                "hypervisor.kernel", "/k", "",
                "= \"/k\": not enabled: hypervisor.qemu.enable_annotations (not set in c.toml) has no \"kernel\""
            ),
            (
                "runtime.disable_new_netns", "true", "kernel",
                "= \"true\": not enabled: hypervisor.qemu.enable_annotations (c.toml:3) has no \"disable_new_netns\""
            ),
            ("hypervisor.nonsense", "1", ".*", "= \"1\": unknown"), ("runtime.nonsense", "1", "", "= \"1\": unknown"),
            ("hypervisor.default_memory", "much", ".*", "= \"much\": expected a number"),
            ("hypervisor.default_memory", "1", ".*", "= \"1\": 1 is not within 64 and 4194304"),
            ("hypervisor.shared_fs", "n\nfs", ".*", "= \"n\\u{a}fs\": \"n\nfs\" is not one of virtio-fs"),
            ("runtime.disable_new_netns", "yes", ".*", "= \"yes\": expected true or false"),
            ("hypervisor.virtio_fs_extra_args", "[1]", ".*", "= \"[1]\": expected a JSON list of strings"),
            (
                "hypervisor.path", "/bin/sh", ".*",
                "= \"/bin/sh\": no pattern of hypervisor.qemu.valid_hypervisor_paths (not set in c.toml) matches the file that it leads to"
            ),
            ("hypervisor.asset_hash_type", "md5", ".*", "= \"md5\": hashes are sha512"),
            (
                "hypervisor.kernel_params", "x", "(",
                "= \"x\": hypervisor.qemu.enable_annotations (c.toml:3): \"(\": Unmatched ( or \\("
            ),
            (
                "hypervisor.virtio_fs_extra_args", #"["-o","source=/"]"#, ".*",
                "= \"[\"-o\",\"source=/\"]\": \"-o source=/\" is not allowed, or its value is not: only the options thread-pool-size, timeout, cache, log-level, readdirplus, no-readdirplus, announce-submounts, writeback, no-writeback, no-xattr"
            ),
            (
                "hypervisor.rootless", "false", ".*\"]\nrootless = true\nvalid_ctlpaths = [\"",
                "= \"false\": only true may be asked for: hypervisor.qemu.rootless (c.toml:4) decides"
            ),
        ])
    func refusals(name: String, value: String, enabled: String, reason: String) {
        do {
            _ = try apply(
                ["io.katacontainers.config." + name: value],
                enabled.isEmpty ? "" : "enable_annotations = [\"\(enabled)\"]")
            Issue.record("accepted")
        } catch { #expect("\(error)" == "config.json: annotation io.katacontainers.config.\(name) \(reason)") }
    }

    @Test("a file is used only with the hash that is given for it")
    func hashes() throws {
        let scratch = Scratch()
        let file = try #require(Files.real(scratch.path)) + "/file"
        try Files.write(file, "abc")
        // FIPS 180-4's example.
        let hash =
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a"
            + "2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        let lists = ["kernel", "initrd", "image"].map { "valid_\($0)_paths = [\"\(scratch.path)/*\"]" }
        func verdict(_ annotations: [String: String], _ toml: String = "") -> String? {
            let toml =
                "enable_annotations = [\".*\"]\npath = \"/bin/sh\"\nvirtio_fs_daemon = \"/bin/sh\"\n"
                + lists.joined(separator: "\n") + "\n" + toml
            let named = [String: String](uniqueKeysWithValues: annotations.map { (hypervisor + $0, $1) })
            do {
                _ = try apply(named, toml).openFiles()
                return nil
            } catch { return "\(error)" }
        }
        let files = ["kernel": file, "initrd": file]
        #expect(verdict(files) == nil)
        #expect(verdict(files.merging(["kernel_hash": hash.uppercased()]) { $1 }) == nil)
        #expect(
            verdict(files.merging(["kernel_hash": "ab12"]) { $1 })
                == "annotation \(hypervisor)kernel_hash: \(file) has the SHA-512 ddaf35a193617aba…, not ab12…")
        // The files' hash is that of their own kernel or root: a pod's needs one too.
        #expect(
            verdict(files, "kernel_hash = \"00\"")
                == "config.json: annotation \(hypervisor)kernel = \"\(file)\": needs the annotation kernel_hash too, as hypervisor.qemu.kernel_hash (c.toml:9) demands a hash"
        )
        #expect(verdict(files.merging(["kernel_hash": hash]) { $1 }, "kernel_hash = \"00\"") == nil)
        for demand in ["initrd_hash", "image_hash"] {
            for root in ["initrd", "image"] {
                let pod = ["kernel": file, root: file]
                let reason = verdict(pod, demand + " = \"00\"") ?? ""
                #expect(reason.contains("needs the annotation \(root)_hash too, as hypervisor.qemu.\(demand) "))
                #expect(verdict(pod.merging([root + "_hash": hash]) { $1 }, demand + " = \"00\"") == nil)
            }
        }
        // Nor does a pod's hash take the place of the files'.
        #expect(
            verdict(["kernel_hash": hash], "kernel = \"\(file)\"\nkernel_hash = \"00\"")?.contains(
                "not the hash of hypervisor.qemu.kernel_hash (c.toml:10), and the file is not the pod's") == true)
    }
}
