import Foundation
import LinuxKernel
import Testing

@testable import Hypervisor
@testable import QEMU
@testable import Snapshot

@Suite("A machine that others go on from")
struct VMTemplateTests {
    private let qemu = QEMU(executable: "/q", accelerator: .init(.tcg, "a test"))

    private var machine: VMConfiguration {
        var machine = VMConfiguration(
            name: "s1", directory: "/run/vc/vm/s1", consoleFile: "/run/vc/vm/s1/console.log",
            kernel: OpenFile(named: "/k"))
        machine.initrd = OpenFile(named: "/i")
        machine.memoryMiB = 256
        (machine.vsockSocket, machine.shareSocket) = ("/run/v", "/run/s")
        machine.networkNamespace = "/run/netns/a"
        return machine
    }

    @Test("a clone is the sandbox's by name and console, else the template's; its kernel is in its memory")
    func clone() {
        let clone = VMTemplate(directory: "/t", of: machine, by: qemu).configuration(for: machine)
        let words = QEMUArguments.build(qemu, clone).joined(separator: " ")
        #expect(words.contains("sandbox-s1") && clone.consoleFile == "/run/vc/vm/s1/console.log")
        #expect(words.contains("mem-path=/proc/self/fd/4 -incoming defer -S"))
        #expect(!words.contains("-kernel") && !words.contains("-initrd") && !words.contains("vhost-user"))
        #expect(clone.networkNamespace == "/run/netns/a" && clone.hotPlugPorts == machine.hotPlugPorts + 2)
    }

    @Test("data of one sandbox does not change the template's fingerprint")
    func same() {
        var other = machine
        (other.name, other.consoleFile, other.vsockSocket, other.networkNamespace) = ("s2", "/c", "/v2", nil)
        func clone(_ machine: VMConfiguration) -> VMConfiguration {
            VMTemplate(directory: "/t", of: machine, by: qemu).configuration(for: self.machine)
        }
        #expect(clone(other) == clone(machine))
        other.memoryMiB = 512
        #expect(clone(other) != clone(machine))
    }

    @Test("a machine's label doesn't depend on its names, and does on what it has")
    func label() {
        func fingerprint(_ machine: VMConfiguration, _ helpers: [String], _ version: String) -> VMFingerprint {
            qemu.fingerprint(of: machine, helpers: helpers, version: version)
        }
        let label = fingerprint(machine, ["/v", "auto"], "1")
        var other = machine
        (other.name, other.directory, other.consoleFile) = ("s2", "/p", "/c")
        (other.vsockSocket, other.shareSocket, other.networkNamespace) = ("/v2", "/s2", nil)
        #expect(label.mismatch(with: fingerprint(other, ["/v", "auto"], "1")) == nil)
        #expect(
            label.mismatch(with: fingerprint(other, ["/v", "none"], "1")) == "with other settings")
        #expect(label.mismatch(with: fingerprint(other, [], "2")) == "by version 1")
        // The host's own vsock in the place of ours.
        (other.vsockSocket, other.hostVsockCID) = (nil, 9)
        let kernels = fingerprint(other, ["/v", "auto"], "1")
        #expect(label.mismatch(with: kernels) == "with other settings")
        other.hostVsockCID = 10
        #expect(kernels.mismatch(with: fingerprint(other, ["/v", "auto"], "1")) == nil)
    }

    @Test(
        "a template that is missing, damaged, or of another version, settings or kernel is not used, and the reason is reported"
    )
    func obstacles() throws {
        let directory = "/tmp/kata-template-\(UInt32.random(in: 0...UInt32.max))"
        defer { Files.removeTree(directory) }
        try Files.makeDirectory(directory)
        let kernel = directory + "/kernel"
        try Files.write(kernel, "k")
        var machine = machine
        machine.kernel = try OpenFile(kernel)
        let template = VMTemplate(directory: directory, of: machine, by: qemu)
        #expect(template.unavailableReason(version: "1")?.contains("kata-runtime factory init") == true)
        #expect(throws: SystemError.self) { try template.remove() }
        try Files.write(directory + "/template.json", "{")
        #expect(template.unavailableReason(version: "1")?.contains("is no label of a template") == true)
        try template.writeFingerprint(version: "1", in: directory)
        #expect(template.unavailableReason(version: "1") == nil)
        #expect(template.unavailableReason(version: "2")?.contains("by version 1") == true)
        machine.memoryMiB = 512
        #expect(
            VMTemplate(directory: directory, of: machine, by: qemu).unavailableReason(version: "1")?.contains(
                "other settings")
                == true)
        try Files.write(kernel, "another")
        (machine.kernel, machine.memoryMiB) = (try OpenFile(kernel), 256)
        let other = VMTemplate(directory: directory, of: machine, by: qemu)
        #expect(other.unavailableReason(version: "1")?.contains("from other files") == true)
        try template.remove()
        #expect(!Files.exists(directory))
    }

    @Test("of the memory, what holds something is copied")
    func memory() throws {
        let directory = "/tmp/kata-template-\(UInt32.random(in: 0...UInt32.max))"
        defer { Files.removeTree(directory) }
        try Files.makeDirectory(directory)
        let file = try FileDescriptor.open(directory + "/memory", O_RDWR | O_CREAT)
        #expect(ftruncate(file.raw, 64 << 20) == 0)
        for offset in [0, 4096 * 3000, (64 << 20) - 4096] { #expect(pwrite(file.raw, "page", 4, off_t(offset)) == 4) }
        let template = VMTemplate(directory: directory, of: machine, by: qemu)
        let copy = try template.emptyMemory()
        try template.fill(copy)
        var facts = stat()
        #expect(fstat(copy.raw, &facts) == 0 && facts.st_size == 64 << 20 && facts.st_blocks * 512 < 1 << 20)
        for offset in [0, 4096 * 3000, (64 << 20) - 4096] {
            var bytes = [UInt8](repeating: 0, count: 4)
            #expect(pread(copy.raw, &bytes, 4, off_t(offset)) == 4 && bytes == Array("page".utf8))
        }
        // QEMU has the file too: shortening it would end every process that maps it with SIGBUS.
        for size in [0, 4096, 128 << 20] { #expect(ftruncate(copy.raw, off_t(size)) < 0 && errno == EPERM) }
    }
}
