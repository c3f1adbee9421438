import Cleanup
import LinuxKernel
import TestSupport
import Testing

@testable import Share

@Suite("which share serves a mount")
struct ShareTableTests {
    private let scratch = Scratch()
    private let record: Ledger.RecordID

    init() throws {
        let ledger = try Ledger.begin(in: scratch.path + "/machine")
        record = try ledger.add(.directory(path: "/unused"))
        ledger.end()
    }

    private func wanted(
        _ path: String, inode: UInt64, writable: Bool = false, _ kind: ShareTable.Kind = .init()
    ) -> ShareTable.Wanted {
        .init(
            file: .init(device: 1, inode: inode), place: FilePlace(device: "8:1", path: path), isWritable: writable,
            kind: kind)
    }

    private func add(_ wanted: ShareTable.Wanted, to table: inout ShareTable) -> ShareTable.Use {
        let number = table.next()
        return table.add(number, .init(wanted: wanted, mounted: "/m/.v\(number)", record: record))
    }

    @Test("one share serves a directory's readers and writers in either order, and is writable with its writers")
    func access() {
        var table = ShareTable()
        let reader = add(wanted("/w", inode: 1), to: &table)
        #expect(
            table.services(for: wanted("/w", inode: 1, writable: true)) == [.init(number: 1, rest: "", opens: true)])
        let writers = (0..<2).map { _ in table.use(1, isWritable: true) }
        for isWritable in [true, false] {
            #expect(
                table.services(for: wanted("/w", inode: 1, writable: isWritable))
                    == [.init(number: 1, rest: "", opens: false)])
        }
        #expect(table.release(writers[0]) == nil && table.unclosed.isEmpty)
        #expect(table.release(writers[1]) == nil && table.unclosed.map(\.number) == [1])
        table.close(1)
        #expect(table.services(for: wanted("/w", inode: 1, writable: true)).map(\.opens) == [true])
        #expect(table.release(reader)?.mounted == "/m/.v1")
        #expect(table.services(for: wanted("/w", inode: 1)).isEmpty && table.entries.isEmpty)
        // A share that the host could not close stays open.
        let (writer, other) = (add(wanted("/w", inode: 1, writable: true), to: &table), table.use(2, isWritable: false))
        #expect(table.release(writer) == nil && table.unclosed.map(\.number) == [2])
        #expect(table.services(for: wanted("/w", inode: 1, writable: true)).map(\.opens) == [false])
        #expect(table.release(other)?.mounted == "/m/.v2" && table.unclosed.isEmpty)
    }

    @Test("a share serves what is below it, the nearest one first; no share is opened for a part of it")
    func below() {
        var table = ShareTable()
        let top = add(wanted("/", inode: 2), to: &table)
        _ = add(wanted("/w", inode: 1), to: &table)
        let part = wanted("/w/a/b", inode: 5)
        #expect(
            table.services(for: part) == [
                .init(number: 2, rest: "a/b", opens: false), .init(number: 1, rest: "w/a/b", opens: false),
            ])
        #expect(table.services(for: wanted("/w/a/b", inode: 5, writable: true)).isEmpty)
        #expect(table.services(for: wanted("/wide", inode: 6)).map(\.number) == [1])
        _ = table.use(2, isWritable: true)
        #expect(table.services(for: wanted("/w/a/b", inode: 5, writable: true)).map(\.number) == [2])
        #expect(table.release(top)?.mounted == "/m/.v1")
        #expect(table.services(for: part).map(\.number) == [2])
        // A directory above one of a present share needs its own.
        #expect(table.services(for: wanted("/", inode: 2)).isEmpty)
    }

    @Test("a share that can't be closed with its last writer is known until it is closed")
    func unclosed() {
        var table = ShareTable()
        let writer = add(wanted("/w", inode: 1, writable: true), to: &table)
        _ = table.use(writer.number, isWritable: false)
        #expect(table.unclosed.isEmpty)
        #expect(table.release(writer) == nil)
        #expect(table.unclosed.map(\.number) == [writer.number])
        table.close(writer.number)
        #expect(table.unclosed.isEmpty)
    }

    @Test("names don't count: a hard link, and a source whose place can't be told, are served by the same file's share")
    func names() {
        var table = ShareTable()
        _ = add(wanted("/w/file", inode: 7), to: &table)
        #expect(table.services(for: wanted("/other/link", inode: 7)).map(\.number) == [1])
        var unknown = wanted("", inode: 7)
        unknown.place = nil
        #expect(table.services(for: unknown).map(\.number) == [1])
        #expect(table.services(for: wanted("/w/file", inode: 8)).isEmpty)
        var other = wanted("/w/file/x", inode: 9)
        other.place = FilePlace(device: "8:2", path: "/w/file/x")
        #expect(table.services(for: other).isEmpty)
    }

    @Test(
        "changed owners, other rules for programs, and mounts below need a share of their own; a copy serves its whole")
    func kinds() {
        var table = ShareTable()
        let owners = OwnerMap(users: [.init(first: 0, shown: 9, count: 1)], groups: [], isRecursive: false)
        _ = add(wanted("/w", inode: 1, .init(owners: owners)), to: &table)
        #expect(table.services(for: wanted("/w", inode: 1)).isEmpty)
        #expect(table.services(for: wanted("/w/a", inode: 2, .init(flags: 8))).isEmpty)
        #expect(table.services(for: wanted("/w/a", inode: 2, .init(owners: owners))).count == 1)
        let mixed = table.next()
        _ = table.add(
            mixed, .init(wanted: wanted("/x", inode: 3), mounted: "/m/x", record: record, hasMountsBelow: true))
        #expect(table.services(for: wanted("/x", inode: 3)).isEmpty)
        #expect(table.services(for: wanted("/x/a", inode: 4)).isEmpty)
        let copy = table.next()
        _ = table.add(copy, .init(wanted: wanted("/c", inode: 5), mounted: "/m/c", record: record, isCopy: true))
        #expect(
            table.services(for: wanted("/c", inode: 5, writable: true)) == [
                .init(number: copy, rest: "", opens: false)
            ])
        #expect(table.services(for: wanted("/c/a", inode: 6)).isEmpty)
    }
}
