import Glibc
import LinuxKernel
import Shim
import Testing

@testable import Configuration
@testable import QEMU
@testable import Share

@Suite("configuration.toml")
struct ConfigurationTests {
    private func read(_ text: String) throws -> Configuration {
        var configuration = Configuration(keys: .all)
        try configuration.merge(text: text, file: "c.toml")
        return configuration
    }

    @Test("a key that is not there has its default")
    func defaults() {
        #expect(Configuration(keys: .all)[Keys.memory] == 2048)
        #expect(Configuration(keys: .all)[Keys.machineType] == "q35")
    }

    @Test("values are read, and a later document wins key by key")
    func merging() throws {
        var configuration = try read("[hypervisor.qemu]\ndefault_memory = 512\npath = \"/q\"\n")
        try configuration.merge(text: "[hypervisor.qemu]\ndefault_memory = 1024\n", file: "d.toml")
        #expect(configuration[Keys.memory] == 1024)
        #expect(configuration[Keys.path] == "/q")
    }

    @Test("Kata's keys that have no effect yet are accepted in silence")
    func withoutEffect() throws {
        let configuration = try read(
            "[hypervisor.qemu]\nenable_iothreads = false\n[runtime]\nvfio_mode = \"vfio\"\n[hypervisor.clh]\nx = 1\n")
        #expect(configuration.warnings.isEmpty)
    }

    @Test("a misspelt key is a warning with the nearest real one")
    func misspelt() throws {
        let configuration = try read("[hypervisor.qemu]\n\ndefalt_memory = 512\n")
        #expect(
            configuration.warnings == [
                "c.toml:3: hypervisor.qemu.defalt_memory: unknown key, ignored; did you mean default_memory?"
            ])
    }

    @Test(
        "an error names file, line, key and the expected value",
        arguments: [
            (
                "[hypervisor.qemu]\ndefault_memory = \"x\"\n",
                "c.toml:2: hypervisor.qemu.default_memory: expected a number"
            ),
            ("[hypervisor.qemu]\npath = 1\n", "c.toml:2: hypervisor.qemu.path: expected a string"),
            (
                "[hypervisor.qemu]\ndefault_memory = 1\n",
                "c.toml:2: hypervisor.qemu.default_memory: 1 is not within 64 and 4194304"
            ),
            (
                "[hypervisor.qemu]\nshared_fs = \"nfs\"\n",
                "c.toml:2: hypervisor.qemu.shared_fs: \"nfs\" is not one of virtio-fs"
            ),
            (
                "[hypervisor.qemu]\nvirtio_fs_extra_args = [1]\n",
                "c.toml:2: hypervisor.qemu.virtio_fs_extra_args: expected a list of strings"
            ),
            ("[hypervisr.qemu]\nx = 1\n", "c.toml:1: hypervisr: unknown table"),
        ])
    func errors(text: String, expected: String) {
        do {
            _ = try read(text)
            Issue.record("accepted")
        } catch { #expect("\(error)" == expected) }
    }

    @Test("an error in TOML names its line")
    func badTOML() {
        do {
            _ = try read("[runtime]\nenable_debug = \n")
            Issue.record("accepted")
        } catch { #expect("\(error)".hasPrefix("c.toml:2: ")) }
    }

    @Test(
        "a file that is asked for and missing is named; image and initrd exclude each other; drop-ins are read in order"
    )
    func files() throws {
        do {
            _ = try Configuration.load("/nowhere/c.toml", keys: .all)
            Issue.record("accepted")
        } catch { #expect("\(error)" == "/nowhere/c.toml: no such file") }
        let directory = "/tmp/kata-configuration-\(getpid())"
        try Files.makeDirectory(directory + "/config.d")
        defer { Files.removeTree(directory) }
        try Files.write(directory + "/c.toml", "[hypervisor.qemu]\ninitrd = \"/i\"\ndefault_memory = 128\n")
        try Files.write(directory + "/config.d/10.toml", "[hypervisor.qemu]\ndefault_memory = 256\n")
        try Files.write(directory + "/config.d/20.toml", "[hypervisor.qemu]\ndefault_memory = 512\n")
        #expect(try Configuration.load(directory + "/c.toml", keys: .all)[Keys.memory] == 512)
        try Files.write(directory + "/config.d/30.toml", "[hypervisor.qemu]\nimage = \"/j\"\n")
        #expect(throws: ConfigurationError.self) { try Configuration.load(directory + "/c.toml", keys: .all) }
    }

    @Test("a directory of drop-ins that can't be read is an error, not a directory without any")
    func unreadableDropIns() throws {
        let directory = "/tmp/kata-configuration-drop-ins-\(getpid())"
        try Files.makeDirectory(directory)
        defer { Files.removeTree(directory) }
        try Files.write(directory + "/c.toml", "[hypervisor.qemu]\ninitrd = \"/i\"\n")
        try Files.write(directory + "/config.d", "")
        do {
            _ = try Configuration.load(directory + "/c.toml", keys: .all)
            Issue.record("accepted")
        } catch { #expect("\(error)" == "\(directory)/config.d: list \(directory)/config.d: not a directory") }
    }

    @Test(
        "drop-ins are looked for beside the file",
        arguments: [
            ("/etc/c.toml", "/etc/config.d"), ("/c.toml", "/config.d"), ("a/c.toml", "a/config.d"),
            ("c.toml", "./config.d"),
        ])
    func dropIns(file: String, directory: String) { #expect(Configuration.dropIns(of: file) == directory) }

    @Test("docs/configuration.md says what the declarations say")
    func reference() throws {
        let page = #filePath.split(separator: "/").dropLast(3).map { "/" + $0 }.joined() + "/docs/configuration.md"
        if getenv("UPDATE_DOCS") != nil { try Files.write(page, KeySet.all.reference, mode: 0o644) }
        #expect(try Files.readText(page) == KeySet.all.reference, "run UPDATE_DOCS=1 make unit")
    }
}
