import Glibc
import LinuxKernel
import Testing

@testable import GuestStorage

@Suite("Huge pages of the guest")
struct HugePagesTests {
    @Test("a pool has the pages of all its containers, and gives them back; sizes that the kernel lacks are left alone")
    func pools() throws {
        let root = "/tmp/huge-pages-\(UInt32.random(in: 0...UInt32.max))"
        try Files.makeDirectory(root + "/hugepages-2048kB")
        defer { Files.removeTree(root) }
        var number: String { (try? Files.readText(root + "/hugepages-2048kB/nr_hugepages")) ?? "" }
        let pages = HugePages(root: root)
        try pages.take(for: "a", ["2MB": 8 << 20, "1GB": 1 << 30])
        #expect(number == "4")
        try pages.take(for: "b", ["2MB": 3 << 20])
        #expect(number == "6")
        pages.give(back: "a")
        #expect(number == "2")
        pages.give(back: "b")
        #expect(number == "0" && Files.list(root) == ["hugepages-2048kB"])
    }

    @Test("names of sizes", arguments: [("2MB", 2048), ("1GB", 1 << 20), ("64KB", 64), ("2M", nil), ("MB", nil)])
    func sizes(_ name: String, _ kibibytes: UInt64?) { #expect(HugePages.kibibytes(name) == kibibytes) }
}
