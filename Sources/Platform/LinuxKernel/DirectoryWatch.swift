import Glibc

/// Reports new, renamed and removed names in directories (inotify(7)).
package final class DirectoryWatch: Sendable {
    private let events: FileDescriptor

    /// - Throws: EMFILE when the user has too many (fs.inotify.max_user_instances).
    package init() throws(SystemError) {
        let flags = Int32(IN_CLOEXEC) | Int32(IN_NONBLOCK)
        events = FileDescriptor(owning: try check("watch", "directories") { inotify_init1(flags) })
    }

    /// The descriptor to poll: readable after an event.
    package var descriptor: Int32 { events.raw }

    /// - Returns: the number for `remove`.
    /// - Throws: `SystemError` with the errno of inotify_add_watch(2), such as ENOTDIR for anything but a directory.
    ///   ENOSPC when the user watches too many (fs.inotify.max_user_watches).
    package func add(_ directory: String) throws(SystemError) -> Int32 {
        let kinds = UInt32(IN_CREATE) | UInt32(IN_DELETE) | UInt32(IN_MOVED_FROM) | UInt32(IN_MOVED_TO)
        let raw = events.raw
        // SAFETY: inotify_add_watch(2) only reads the path.
        return try check("watch", directory) { unsafe inotify_add_watch(raw, directory, kinds | UInt32(IN_ONLYDIR)) }
    }

    package func remove(_ number: Int32) { inotify_rm_watch(events.raw, number) }

    /// Discards the events so far.
    package func drain() {
        var buffer = [UInt8](repeating: 0, count: 4096)
        // SAFETY: read(2) writes at most `count` bytes.
        while unsafe read(events.raw, &buffer, buffer.count) > 0 {}
    }
}
