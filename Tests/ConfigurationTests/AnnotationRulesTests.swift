import Glibc
import LinuxKernel
import Shim
import TestSupport
import Testing

@testable import Configuration
@testable import QEMU
@testable import Share

/// The reach of a pod whose operator has enabled all annotations.
@Suite("Rules of annotations")
struct AnnotationRulesTests {
    private func apply(_ name: String, _ value: String, _ toml: String = "") throws -> Configuration {
        var configuration = Configuration(keys: .all)
        try configuration.merge(text: "[hypervisor.qemu]\nenable_annotations = [\".*\"]\n" + toml, file: "c.toml")
        return try configuration.applying([name: value], source: "config.json")
    }

    private static let annotated = KeySet.all.keys.filter { $0.annotation != nil }
    /// Keys with any text that names no file of the host: it goes to the guest's kernel or agent, or is compared.
    private static let freeTexts = [
        Keys.kernelParameters, Keys.guestHookPath, Keys.kernelHash, Keys.initrdHash, Keys.imageHash,
    ]

    @Test("each annotation for a host file has a list of allowed paths, which is empty by default")
    func lists() throws {
        for key in Self.annotated where key.hostFile != nil {
            guard case .listed(let path)? = key.rule else {
                Issue.record("\(key.path) has no list")
                continue
            }
            let list = try #require(KeySet.all[path])
            #expect(list.defaultValue == .list([]) && list.annotation == nil)
        }
        let named = Self.annotated.filter { $0.hostFile != nil }.map(\.name)
        #expect(named == ["path", "kernel", "initrd", "image", "firmware", "entropy_source", "virtio_fs_daemon"])
    }

    @Test("a key whose value looks like a path is declared as one")
    func paths() {
        for key in KeySet.all.keys where key.path != Keys.guestHookPath.path {
            if case .string(let text) = key.defaultValue, text.hasPrefix("/") || key.name.hasSuffix("path") {
                #expect(key.hostFile != nil, "\(key.path)")
            }
        }
    }

    @Test("no annotation names a file of the host, whichever key it sets", arguments: annotated.map(\.path))
    func escapes(path: String) throws {
        let key = try #require(KeySet.all[path])
        for value in [
            "/etc/shadow", "/usr/../etc/shadow", "../../etc/shadow", "/bin/sh", "/dev/urandom", "/",
            "[\"--shared-dir\", \"/etc\"]", "[\"-o\", \"source=/etc\"]", "[\"/etc\"]", "kernel=/etc/shadow",
            "x,firmware=/etc/shadow",
        ] {
            guard let result = try? apply(key.annotation ?? "", value) else { continue }
            #expect(Self.freeTexts.contains { $0.path == path }, "\(key.path) takes \(value): \(result.value(key))")
        }
    }

    @Test("a pattern is matched by the file that a path leads to: neither \"..\" nor a link leads out of it")
    func matching() throws {
        let scratch = Scratch()
        let root = try #require(Files.real(scratch.path))
        for directory in ["valid", "pod", "valid/deep"] { try Files.makeDirectory(root + "/" + directory) }
        for file in ["valid/a", "valid/b,c:d", "pod/x", "valid/deep/e"] { try Files.write(root + "/" + file, "") }
        for (target, link) in [
            ("../pod/x", "valid/out"), ("../valid/a", "pod/in"), ("valid", "name"), ("a", "valid/current"),
        ] { #expect(symlink(target, root + "/" + link) == 0) }
        func taken(_ path: String, _ pattern: String) -> String? {
            let toml = "valid_kernel_paths = [\"\(root)/\(pattern)\"]"
            let kernel = try? apply("io.katacontainers.config.hypervisor.kernel", root + path, toml)[Keys.kernel]
            return kernel.map { String($0.dropFirst(root.count)) }
        }
        #expect(taken("/valid/a", "valid/*") == "/valid/a")
        #expect(taken("/pod/in", "valid/*") == "/valid/a" && taken("/pod/../valid/a", "valid/a") == "/valid/a")
        #expect(taken("/valid/b,c:d", "valid/*") == "/valid/b,c:d")
        for path in [
            "/valid/out", "/valid/../pod/x", "/pod/x", "/valid/deep/e", "/valid/deep", "/valid/none", "/valid/a\n",
        ] {
            #expect(taken(path, "valid/*") == nil, "\(path)")
        }
        #expect(taken("/pod/in", "pod/*") == nil)
        // The operator's own links in a pattern are followed.
        #expect(taken("/name/a", "name/*") == "/valid/a" && taken("/valid/a", "valid/current") == "/valid/a")
        #expect(taken("/valid/a", "*") == nil && taken("/valid/a", "*/a") == "/valid/a")
    }

    @Test("a program has to be one, a device to be one")
    func kinds() throws {
        let scratch = Scratch()
        let file = try #require(Files.real(scratch.path)) + "/file"
        try Files.write(file, "", mode: 0o644)
        let name = "io.katacontainers.config.hypervisor.path"
        let toml = "valid_hypervisor_paths = [\"\(scratch.path)/*\"]"
        let error = #expect(throws: ConfigurationError.self) { try apply(name, file, toml) }
        #expect(error?.reason.hasSuffix("not executable") == true)
        #expect(chmod(file, 0o755) == 0)
        #expect(try apply(name, file, toml)[Keys.path] == file)
        let entropy = "io.katacontainers.config.hypervisor.entropy_source"
        #expect(
            try apply(entropy, "/dev/random", "valid_entropy_sources = [\"/dev/*\"]")[Keys.entropySource]
                == "/dev/random")
        #expect(throws: ConfigurationError.self) {
            try apply(entropy, "/dev/null", "valid_entropy_sources = [\"/dev/*\"]")
        }
    }

    @Test(
        "what the files demand an annotation can only tighten",
        arguments: [
            (Keys.rootless, "true"), (Keys.disableVhostNet, "true"), (Keys.sandboxGroupOnly, "true"),
            (Keys.disableNewNamespace, "true"),
            (Keys.disableGuestSeccomp, "false"), (Keys.disableBlockDevices, "false"), (Keys.blockCacheNoFlush, "false"),
        ])
    func flags(key: Key<Bool>, tight: String) throws {
        let loose = tight == "true" ? "false" : "true"
        let table = "[\(key.table)]\n".filter { _ in key.table != "hypervisor.qemu" }
        func set(_ file: String, _ annotation: String) -> Bool? {
            (try? apply(key.annotation ?? "", annotation, "\(table)\(key.name) = \(file)\n"))?[key]
        }
        #expect(set(loose, tight) == (tight == "true") && set(tight, tight) == (tight == "true"))
        #expect(set(loose, loose) == (loose == "true") && set(tight, loose) == nil)
    }

    @Test("the networking model is the files', or none")
    func networkingModel() throws {
        let name = "io.katacontainers.config.runtime.internetworking_model"
        let macvtap = "[runtime]\ninternetworking_model = \"macvtap\"\n"
        #expect(try apply(name, "none", macvtap)[Keys.internetworkingModel] == "none")
        #expect(try apply(name, "macvtap", macvtap)[Keys.internetworkingModel] == "macvtap")
        #expect(throws: ConfigurationError.self) { try apply(name, "tcfilter", macvtap) }
    }

    @Test("a guest gets no more time to create a container than the files give it")
    func timeout() throws {
        let name = "io.katacontainers.config.runtime.create_container_timeout"
        #expect(try apply(name, "59")[Keys.createTimeout] == 59)
        let error = #expect(throws: ConfigurationError.self) { try apply(name, "61") }
        #expect(
            error?.reason.hasSuffix("more than the 60 of runtime.create_container_timeout (not set in c.toml)") == true)
    }

    @Test("words for the machine and its processor are added; none names a file or changes what the files say")
    func words() throws {
        let prefix = "io.katacontainers.config.hypervisor."
        let accelerators = "machine_accelerators = \"nvdimm=off\"\n"
        #expect(
            try apply(prefix + "machine_accelerators", "kernel_irqchip=split,usb=off,nvdimm=off", accelerators)[
                Keys.machineAccelerators] == "nvdimm=off,kernel_irqchip=split,usb=off")
        for value in [
            "nvdimm=on", "dump-guest-core=on", "kernel=/etc/shadow", "mem-merge=on", "usb=/x", "memory-backend=x",
            "dumpdtb=x",
            "usb=off,,firmware=x",
        ] {
            #expect(throws: ConfigurationError.self, "\(value)") {
                try apply(prefix + "machine_accelerators", value, accelerators)
            }
        }
        #expect(
            try apply(prefix + "cpu_features", "+vmx,hv_time=on")[Keys.cpuFeatures] == "pmu=off,+vmx,hv_time=on")
        for value in ["pmu=on", "+pmu", "model-id=/etc/shadow", "x y"] {
            #expect(throws: ConfigurationError.self, "\(value)") { try apply(prefix + "cpu_features", value) }
        }
    }

    @Test(
        "of the daemon's options a pod may add the harmless ones, in any form",
        arguments: [
            (["--thread-pool-size=4", "-o", "timeout=3,cache=none", "-owriteback", "--announce-submounts"], true),
            (["-o", "announce_submounts,no_xattr", "--cache=auto", "--log-level=info"], true), ([], true),
            (["-o", "timeout=3,source=/"], false), (["-osource=/"], false), (["-o"], false), (["--"], false),
            (["-o", ""], false), (["-o", "timeout=3,"], false), (["--shared-dir=/"], false),
            (["--shared-dir", "/"], false),
            (["-o", "sandbox=chroot"], false), (["--sandbox=none"], false), (["--fd=0"], false),
            (["--socket-path=/x"], false), (["-o", "modcaps=+sys_admin"], false), (["-o", "xattr"], false),
            (["-o", "xattrmap=:map::user.virtiofs.:"], false), (["--thread-pool-size=1000"], false),
            (["--thread-pool-size=-1"], false), (["--thread-pool-size"], false), (["-o", "flock"], false),
            (["-d"], false),
            (["--daemonize"], false), (["-f"], false), (["/"], false), (["-o", "writeback=/"], false),
            (["--inode-file-handles=mandatory"], false), (["--rlimit-nofile=0"], false), (["--log-level=debug"], false),
        ])
    func daemonOptions(options: [String], isAllowed: Bool) {
        let isTaken = (try? DaemonOptions.check(options)) != nil
        #expect(isTaken == isAllowed)
    }
}
