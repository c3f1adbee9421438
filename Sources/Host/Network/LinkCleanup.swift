import Cleanup
import LinuxKernel

/// Removes changes to a foreign link, in the network namespace at a path.
package struct LinkCleanup: Undoable {
    package static let kind = "link"
    let record: Attachment.Record
    let namespace: String
    /// `NetworkNamespace.identity`: another process may have the pid in the path by now.
    let identity: UInt64

    package func undo() {
        // The thread holds the namespace open until its end.
        try? runThread("network") {
            guard let found = try? NetworkNamespace.open(namespace), found.identity == identity,
                (try? found.enter()) != nil
            else { return }
            record.undo()
        }
    }
}

extension Ledger.Entry {
    /// Changes to a foreign link.
    /// - Parameters:
    ///   - namespace: a path of the link's network namespace.
    ///   - identity: the namespace's `NetworkNamespace.identity`.
    package static func link(record: Attachment.Record, namespace: String, identity: UInt64) -> Self {
        Self(LinkCleanup(record: record, namespace: namespace, identity: identity))
    }
}
