import FoundationEssentials
import Linux

/// What a sandbox has done to links that are not its own, on disk before it is done: read after a crash, it is undone.
package struct NetworkLedger: Sendable {
    private struct Page: Codable {
        /// Path of the namespace, and its identity: behind a path of a process another one may be by then.
        let namespace: String
        let identity: UInt64
        var records: [Attachment.Record]
    }

    private let file: String
    private var page: Page

    /// - Parameter namespace: its path, as others will find it.
    package init(_ file: String, namespace: String, identity: UInt64) {
        self.file = file
        page = Page(namespace: namespace, identity: identity, records: [])
    }

    package mutating func add(_ record: Attachment.Record) throws {
        page.records.append(record)
        try save()
    }

    package mutating func remove(_ record: Attachment.Record) {
        page.records.removeAll { $0 == record }
        try? save()
    }

    private func save() throws {
        try Files.replace(file, String(decoding: try JSONEncoder().encode(page), as: UTF8.self))
    }

    /// Undoes what is written in `file`; nothing there, or another namespace at its path, is nothing to do.
    /// Moves the calling thread into the namespace.
    package static func undo(_ file: String) {
        guard let bytes = try? Files.read(file), let page = try? JSONDecoder().decode(Page.self, from: Data(bytes)),
            let namespace = try? NetworkNamespace.open(page.namespace), namespace.identity == page.identity,
            (try? namespace.enter()) != nil
        else { return }
        for record in page.records.reversed() { record.undo() }
    }
}
