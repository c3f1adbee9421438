import LinuxKernel
import Testing

@testable import Images

@Suite("The guest's kernel")
struct KernelTests {
    @Test("every option has a rank and a reason, and is there once")
    func declaration() throws {
        #expect(KernelOption.all.count > 300)
        #expect(KernelOption.all.contains { $0.name == "CONFIG_VIRTIO_FS" && $0.rank == .essential })
        #expect(KernelOption.all.contains { $0.name == "CONFIG_MODULES" && $0.value == nil })
    }

    @Test(
        "a line of the declaration is read, or refused with its place",
        arguments: [
            ("CONFIG_A=y  # own: because", "CONFIG_A=y", nil),
            ("CONFIG_A=\"x # y\" # feature: because: so", "CONFIG_A=\"x # y\"", nil),
            ("# CONFIG_A is not set # own: because", "# CONFIG_A is not set", nil),
            ("# a comment", nil, nil), ("", nil, nil),
            ("CONFIG_A=y", nil, "f:1: CONFIG_A has no rank and reason"),
            ("CONFIG_A=y # nice: because", nil, "f:1: CONFIG_A has no rank and reason"),
            ("A=y", nil, "f:1: neither CONFIG_NAME=value nor a comment"),
            ("CONFIG_A=y # own: a\nCONFIG_A=y # own: a", nil, "f:2: CONFIG_A is there twice"),
        ] as [(String, String?, String?)])
    func lines(text: String, line: String?, refusal: String?) throws {
        do {
            #expect(try KernelOption.parse(text, file: "f").first?.line == line)
            #expect(refusal == nil)
        } catch { #expect("\(error)".hasPrefix(refusal ?? "?"), "\(error)") }
    }

    private let options = try! KernelOption.parse(
        """
        CONFIG_NEEDED=y # essential: guests
        CONFIG_NICE=y # feature: a thing
        CONFIG_CPUS=64 # own: many
        # CONFIG_OFF is not set # own: time
        """, file: "f")

    @Test(
        "a missing kernel option is reported with its effect; modules count as present; only our kernel needs our patches"
    )
    func check() {
        func findings(_ text: String, strict: Bool = false) -> [String] {
            KernelCheck(KernelConfiguration(text: text), options: options, strict: strict).missing.map(\.description)
        }
        #expect(findings("CONFIG_NEEDED=y\nCONFIG_NICE=m\nCONFIG_OFF=y\n") == [])
        #expect(
            findings("CONFIG_CPUS=8\n# CONFIG_NEEDED is not set\n") == [
                "essential: CONFIG_NEEDED is not set, y is needed: guests",
                "feature: CONFIG_NICE is not set, y is needed: a thing",
            ])
        #expect(
            findings("CONFIG_NEEDED=y\nCONFIG_NICE=m\nCONFIG_OFF=y\nCONFIG_CPUS=8\n", strict: true) == [
                "feature: CONFIG_NICE is m, y is needed: a thing", "own: CONFIG_CPUS is 8, 64 is needed: many",
                "own: CONFIG_OFF is y, not set is needed: time",
            ])
        #expect(!KernelCheck(KernelConfiguration(text: "CONFIG_NICE=y"), options: options).isUsable)
    }

    @Test("a configuration is read from a kernel that contains one, and from a text; others are refused")
    func sources() throws {
        let file = "/tmp/kata-kernel-test-\(UInt32.random(in: 0...UInt32.max))"
        defer { Files.removeTree(file) }
        // gzip -n of "CONFIG_A=y\n".
        let packed: [UInt8] = [
            0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x73, 0xf6, 0xf7, 0x73, 0xf3, 0x74, 0x8f, 0x77, 0xb4, 0xad, 0xe4, 2, 0,
            0x8e, 0xb1, 0x80, 0xda, 11, 0, 0, 0,
        ]
        let kernel = [0x7f, 0x45, 0x4c, 0x46] + Array("code IKCFG_ST".utf8) + packed + Array("IKCFG_ED more".utf8)
        try Files.write(file, kernel)
        #expect(try KernelConfiguration(file: file).values == ["CONFIG_A": "y"])
        try Files.write(file, "CONFIG_A=y\n# CONFIG_B is not set\n")
        #expect(try KernelConfiguration(file: file).values == ["CONFIG_A": "y"])
        for (content, reason) in [("\u{7f}ELF", "doesn't tell its configuration"), ("nothing", "neither a kernel")] {
            try Files.write(file, content)
            let error = #expect(throws: ImageError.self) { try KernelConfiguration(file: file) }
            #expect(error?.description.contains(reason) == true)
        }
    }

    @Test("what goes in decides a kernel's name; the newest of the same options is found")
    func cache() throws {
        let cache = "/tmp/kata-cache-test-\(UInt32.random(in: 0...UInt32.max))"
        defer { Files.removeTree(cache) }
        let one = KernelBuild(source: "linux-source-6.1", version: "1", compiler: "gcc 12")
        let two = KernelBuild(source: "linux-source-6.1", version: "2", compiler: "gcc 12")
        let other = KernelBuild(
            source: "linux-source-6.1", version: "1", compiler: "gcc 12", extra: ["CONFIG_NR_CPUS=8\n"])
        let unpatched = KernelBuild(source: "linux-source-6.1", version: "1", compiler: "gcc 12", patches: [])
        #expect(Set([one.name, two.name, other.name, unpatched.name]).count == 4)
        #expect(other.options.contains("CONFIG_NR_CPUS=8\n") && !other.options.contains("CONFIG_NR_CPUS=64\n"))
        #expect(KernelBuild.newest(in: cache) == nil)
        for build in [one, other, unpatched] {
            try Files.makeDirectory(cache + "/" + build.name)
            try Files.write(cache + "/\(build.name)/inputs", build.inputs)
        }
        #expect(one.find(in: cache) == nil && KernelBuild.newest(in: cache) == nil)
        for build in [one, other, unpatched] { try Files.write(cache + "/\(build.name)/vmlinux", "") }
        #expect(one.find(in: cache) == cache + "/" + one.name && two.find(in: cache) == nil)
        #expect(KernelBuild.newest(in: cache) == cache + "/" + one.name)
    }

    @Test(
        "a package's sources become a kernel in the cache, with what went in beside it; an option that is dropped and a patch that doesn't fit stop it; nothing else is left",
        .enabled(
            if: ["strip", "make", "patch"].allSatisfy { Files.exists("/usr/bin/" + $0) },
            "needs make, patch and binutils"))
    func build() throws {
        let place = "/tmp/kata-kernel-build-test-\(UInt32.random(in: 0...UInt32.max))"
        defer { Files.removeTree(place) }
        // Sources that are configured by copying, and compiled by copying a program.
        try Files.makeDirectory(place + "/linux-source-9", mode: 0o755)
        try Files.write(
            place + "/linux-source-9/Makefile",
            "allnoconfig:\n\tgrep -v CONFIG_DROPPED $(KCONFIG_ALLCONFIG) > $(O)/.config\n"
                + "vmlinux:\n\tcp /bin/false $(O)/vmlinux && test \"$$KBUILD_BUILD_USER\" = kata\n")
        try Files.makeDirectory(place + "/package/usr/src", mode: 0o755)
        try Files.makeDirectory(place + "/package/DEBIAN", mode: 0o755)
        try Files.write(
            place + "/package/DEBIAN/control",
            "Package: linux-source-9\nVersion: 1\nArchitecture: all\nMaintainer: nobody <n@example.org>\nDescription: sources\n",
            mode: 0o644)
        try Program(
            "/usr/bin/tar",
            ["-cJf", place + "/package/usr/src/linux-source-9.tar.xz", "-C", place, "linux-source-9"]
        ).run("pack")
        try Program("/usr/bin/dpkg-deb", ["-b", place + "/package", place + "/sources.deb"]).run("pack")
        let patch = """
            --- a/Makefile
            +++ b/Makefile
            @@ -3,2 +3,2 @@
             vmlinux:
            -\tcp /bin/false $(O)/vmlinux && test "$$KBUILD_BUILD_USER" = kata
            +\tcp /bin/true $(O)/vmlinux && test "$$KBUILD_BUILD_USER" = kata

            """
        func run(_ extra: [String], patch: String) throws -> String {
            try KernelBuild(
                source: "linux-source-9", version: "1", compiler: "gcc", extra: extra,
                patches: [KernelPatch(name: "true.patch", text: patch)]
            ).run(
                archive: place + "/sources.deb", work: place + "/work", cache: place + "/cache", jobs: 1
            ) { _ in }
        }
        let directory = try run([], patch: patch)
        // Stripped it differs, but a program that fails is another one.
        #expect(try Program(directory + "/vmlinux").run("run what was built") == "")
        #expect(Files.list(directory) == ["config", "inputs", "vmlinux"])
        #expect(try KernelConfiguration(file: directory + "/config").values["CONFIG_VIRTIO_FS"] == "y")
        let error = #expect(throws: ImageError.self) { try run(["CONFIG_DROPPED=y\n"], patch: patch) }
        #expect(error?.description == "linux-source-9 1 doesn't take these options: CONFIG_DROPPED=y")
        let misfit = #expect(throws: ImageError.self) {
            try run([], patch: patch.replacing("/bin/false", with: "/bin/other"))
        }
        #expect(misfit?.description.hasPrefix("apply true.patch to linux-source-9 1: /usr/bin/patch ") == true)
        #expect(Files.list(place + "/cache").count == 1 && !Files.exists(place + "/work"))
    }
}
