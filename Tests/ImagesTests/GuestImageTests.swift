import Glibc
import LinuxKernel
import TestSupport
import Testing

@testable import Images

@Suite("Initrds and images")
struct GuestImageTests {
    /// A directory with a file that passes for an agent.
    private func withAgent(_ body: (_ directory: String, _ image: GuestImage) throws -> Void) throws {
        let directory = "/tmp/kata-image-test-\(UInt32.random(in: 0...UInt32.max))"
        defer { Files.removeTree(directory) }
        try Files.makeDirectory(directory)
        try Files.write(directory + "/agent", "\u{7f}ELF and so on")
        try body(directory, GuestImage(agent: directory + "/agent"))
    }

    @Test("the same inputs give the same initrd, and a file that is no agent is refused")
    func reproducible() throws {
        try withAgent { directory, image in
            #expect(try image.initrd() == image.initrd())
            try Files.write(image.agent, "#!/bin/sh")
            #expect(throws: ImageError("\(image.agent): not an executable")) { try image.initrd() }
        }
    }

    @Test("an initrd with systemd is refused with the reason")
    func systemdInitrd() throws {
        try withAgent { _, image in
            var image = image
            image.initial = .systemd
            let error = #expect(throws: ImageError.self) { try image.initrd() }
            #expect(error?.description.contains("build an image, or an initrd with --init agent") == true)
        }
    }

    @Test("added files are there, a shell is added on request, and the metadata names process 1")
    func additions() throws {
        try withAgent { directory, image in
            try Files.makeDirectory(directory + "/hooks/prestart")
            try Files.write(directory + "/hooks/prestart/one", "#!/bin/sh\n", mode: 0o755)
            try check("link", directory) { symlink("one", directory + "/hooks/prestart/two") }
            var image = image
            image.additions = [(directory + "/hooks", "/usr/share/oci/hooks")]
            image.busybox = image.agent
            let tree = try image.tree(initPath: "init", metadata: Metadata(image))
            func node(_ path: String) -> FileTree.Node? { tree.nodes.first { $0.path == path }?.node }
            #expect(node("usr/share/oci/hooks/prestart") == .directory)
            #expect(
                node("usr/share/oci/hooks/prestart/one") == .copy(directory + "/hooks/prestart/one", mode: 0o755))
            #expect(node("usr/share/oci/hooks/prestart/two") == .link(to: "one"))
            #expect(node("bin/sh") == .link(to: "busybox"))
            guard case .file(let bytes, _)? = node(Metadata.path) else {
                Issue.record("no metadata")
                return
            }
            let text = String(decoding: bytes, as: UTF8.self)
            #expect(text.contains("\ndescription: \"") && text.contains("  agent-is-init-daemon: \"yes\"\n"))
            #expect(Archive.file(Metadata.path, in: try image.initrd()) == bytes)
            image.additions = [(directory + "/nothing", "/x")]
            #expect(throws: SystemError.self) { try image.initrd() }
        }
    }

    @Test("a systemd image has the agent as a unit, an empty machine id, and places to write")
    func systemdTree() throws {
        try withAgent { _, image in
            var image = image
            image.initial = .systemd
            let tree = try DebianImage(image).tree()
            let paths = Set(tree.nodes.map(\.path))
            for path in [
                "usr/bin/kata-agent", "usr/lib/systemd/system/kata-agent.service", "etc/machine-id", "etc/fstab",
            ] {
                #expect(paths.contains(path), "\(path)")
            }
        }
    }

    @Test(
        "an image is the same for the same files, and its length fits persistent memory",
        .enabled(if: Files.exists("/usr/bin/mkfs.erofs"), "needs Debian's erofs-utils"),
        arguments: DiskImage.Format.allCases)
    func disks(format: DiskImage.Format) throws {
        try withAgent { directory, image in
            for name in ["one", "two"] {
                try image.disk(format, output: directory + "/" + name)
                #expect(!Files.exists(directory + "/\(name).files"))
            }
            let one = try Files.read(directory + "/one")
            #expect(one == (try Files.read(directory + "/two")))
            #expect(!one.isEmpty && one.count % DiskImage.granule == 0)
        }
    }

    @Test("a module that is neither present nor built in is named, with the module that needs it")
    func missingModule() throws {
        let directory = "/tmp/kata-modules-test-\(UInt32.random(in: 0...UInt32.max))"
        defer { Files.removeTree(directory) }
        try Files.makeDirectory(directory + "/kernel")
        try Files.write(directory + "/kernel/virtio-net.ko", "\0depends=failover\0")
        let modules = try KernelModules(directory: directory)
        #expect(
            throws: ImageError("\(directory): module failover (needed by virtio_net) is neither there nor built in")
        ) {
            try modules.resolve(["virtio_net"])
        }
    }
}
