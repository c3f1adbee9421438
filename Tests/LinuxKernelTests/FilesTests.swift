import Glibc
import Testing

@testable import LinuxKernel

@Suite("Trees of files")
struct FilesTests {
    private let directory = "/tmp/kata-files-test-\(UInt32.random(in: 0...UInt32.max))"

    @Test("a path is made absolute by its words alone")
    func absolute() {
        #expect(Files.absolute("/a//b/./../c/") == "/a/c")
        #expect(Files.absolute("/..") == "/")
        #expect(Files.absolute("x").hasSuffix("/x") && Files.absolute("x").hasPrefix("/"))
    }

    @Test(
        "the table of mounts shows whether something is mounted below a path",
        arguments: [
            ("/a/b", true), ("/a", true), ("/", true), ("/a/b/c", false), ("/a/bc", false), ("/x y", true),
            ("/z", false),
        ])
    func mountsBelow(path: String, isThere: Bool) {
        let table =
            "22 1 0:21 / / rw - ext4 /dev/vda rw\n30 22 0:9 / /a/b/c rw,nosuid shared:3 - tmpfs /z/tmpfs rw\n"
            + "31 22 0:9 / /x\\040y/z rw - tmpfs none rw\n"
        #expect(Mounts.hasMounts(below: path, table: MountTable.parse(table)) == isThere)
    }

    @Test("of the mounts below a path, the visible ones of files are listed, in their order")
    func mountsBelow() {
        let lines = [
            "22 1 0:21 / / rw - ext4 /dev/vda rw", "30 22 0:9 / /a/b rw - tmpfs x rw", "31 22 0:9 / /a/b rw - xfs y rw",
            "32 22 0:9 / /a/c ro - ext4 z rw", "33 22 0:9 / /ab rw - ext4 z rw", "34 22 0:9 / /a/proc rw - proc p rw",
        ]
        let table = MountTable.parse(lines.joined(separator: "\n"))
        #expect(Mounts.below("/a", table: table).map(\.source) == ["y", "z"])
        #expect(Mounts.below("/", table: table).map(\.mountPoint) == ["/a/b", "/a/c", "/ab"])
    }

    @Test("resource limits survive their text; other text is none")
    func resourceLimits() {
        #expect(ResourceLimits(ResourceLimits.inherited.text) == .inherited)
        #expect(ResourceLimits.inherited.values.count == ResourceLimits.count)
        for text in ["", "1:2", "1:2,", Array(repeating: "2:1", count: 16).joined(separator: ",")] {
            #expect(ResourceLimits(text) == nil)
        }
    }

    @Test("a tree is removed, and what its links lead to stays")
    func removal() throws {
        defer { Files.removeTree(directory) }
        try Files.makeDirectory(directory + "/tree/inner")
        try Files.write(directory + "/kept", "text")
        try Files.write(directory + "/tree/inner/file", "text")
        symlink(directory, directory + "/tree/link")
        Files.removeTree(directory + "/tree")
        #expect(!Files.exists(directory + "/tree"))
        #expect(try Files.readText(directory + "/kept") == "text")
    }

    @Test(
        "mounts in a tree stay, even of the same file system",
        .enabled(if: getuid() == 0, "mounting needs root"))
    func mounts() throws {
        defer { Files.removeTree(directory) }
        try Files.makeDirectory(directory + "/source")
        try Files.write(directory + "/source/precious", "text")
        try Files.makeDirectory(directory + "/tree/mounted")
        try Files.write(directory + "/tree/file", "")
        for (source, target) in [("/source", "/tree/mounted"), ("/source/precious", "/tree/file")] {
            try Mounts.bind(directory + source, at: directory + target)
        }
        defer { for target in ["/tree/mounted", "/tree/file"] { Mounts.detach(directory + target) } }
        Files.removeTree(directory + "/tree")
        #expect(try Files.readText(directory + "/source/precious") == "text")
        #expect(try Files.readText(directory + "/tree/file") == "text")
    }
}
