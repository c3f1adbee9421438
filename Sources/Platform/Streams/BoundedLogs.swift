import Glibc
import LinuxKernel
import Synchronization

/// Writes the output of other processes, such as a guest's console, to files of bounded size, of which the end is kept.
///
/// A writer gets one end of a socket pair. A flood slows the writer down and costs this process time, but doesn't fill
/// the disk.
package final class BoundedLogs: Sendable {
    private struct Source: Sendable {
        let descriptor: Int32
        let path: String
        let limit: Int
    }
    private struct State: Sendable {
        /// Paths of logs whose writers are still there.
        var open: Set<String> = []
        /// The last bytes that a full disk did not take.
        var lost: [String: [UInt8]] = [:]
    }
    private let state = Mutex(State())
    private let inbox: Inbox<Source>
    /// The maximum of bytes to keep in memory for a log when the disk is full.
    private static let maxLost = 4096

    /// Starts the thread that writes the files.
    /// - Throws: `SystemError` for lack of a descriptor, or when the thread can't be started.
    package init() throws(SystemError) {
        inbox = try Inbox()
        try startThread("logs") { [self] in run() }
    }

    /// Starts a log.
    /// - Parameter limit: maximum size of the file in bytes; `<path>.old` beside it may have as many.
    /// - Returns: the descriptor to write to.
    /// - Throws: when the file can't be made.
    package func open(_ path: String, limit: Int = 512 << 10) throws(SystemError) -> FileDescriptor {
        var ends: [Int32] = [-1, -1]
        // SAFETY: `ends` has room for the two descriptors.
        try check("open", path) { unsafe socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0, &ends) }
        let written = FileDescriptor(owning: ends[1])
        let source = Source(descriptor: ends[0], path: path, limit: limit)
        do { _ = try BoundedFile(path, limit: limit) } catch {
            Glibc.close(source.descriptor)
            throw error
        }
        _ = fcntl(source.descriptor, F_SETFL, O_NONBLOCK)
        _ = state.withLock { $0.open.insert(path) }
        if !inbox.send([source]) { close(source) }
        return written
    }

    /// Waits until the logs have everything that writers wrote before their end. It polls: a mutex of Synchronization
    /// has no condition to wait for.
    package func settle(_ paths: [String], within limit: Duration) {
        let deadline = ContinuousClock.now + limit
        while !state.withLock({ $0.open.isDisjoint(with: paths) }), ContinuousClock.now < deadline { usleep(2_000) }
    }

    /// The last lines of a log, including those that a full disk did not take.
    ///
    /// A guest may have written them: control characters are replaced, and size and length are bounded.
    package func tail(_ path: String, lines: Int) -> [String] {
        var bytes: [UInt8] = []
        if let file = try? FileDescriptor.open(path, O_RDONLY) {
            lseek(file.raw, max(0, lseek(file.raw, 0, SEEK_END) - Self.tailBytes), SEEK_SET)
            bytes = (try? file.readAll(path, limit: 1 << 20)) ?? []
        }
        bytes += state.withLock { $0.lost[path] ?? [] }
        return bytes.split(separator: UInt8(ascii: "\n")).map { line in
            var line = String(decoding: line, as: UTF8.self).printable(limit: Self.maxLineBytes)
            while line.last == " " { line.removeLast() }
            return line
        }.filter { !$0.isEmpty }.suffix(lines)
    }

    /// The number of bytes at the end of a file from which `tail` takes lines, and the maximum length of a line.
    private static let tailBytes = 16 << 10
    private static let maxLineBytes = 200

    package func stop() { for source in inbox.close() { close(source) } }

    private func close(_ source: Source) {
        Glibc.close(source.descriptor)
        state.withLock { _ = $0.open.remove(source.path) }
    }

    private func run() {
        var sources: [(source: Source, file: BoundedFile?)] = []
        var chunk = [UInt8](repeating: 0, count: 16 << 10)
        var polled = PollSet<(source: Source, file: BoundedFile?)?>()
        while let added = inbox.take() {
            sources += added.map { ($0, try? BoundedFile($0.path, limit: $0.limit)) }
            polled.removeAll()
            polled.add(inbox.descriptor, for: nil)
            for each in sources { polled.add(each.source.descriptor, for: each) }
            guard polled.wait(nil) > 0 else { continue }
            for case (let (source, file)?, _) in polled.ready {
                // SAFETY: the chunk has room for `count` bytes.
                let count = unsafe read(source.descriptor, &chunk, chunk.count)
                // Without a file, all of it is lost to the disk: its end is kept in memory.
                let lost = count > 0 ? file?.append(chunk[..<count]) ?? chunk[..<count] : []
                if !lost.isEmpty {
                    state.withLock {
                        $0.lost[source.path] = ($0.lost[source.path] ?? []) + lost
                        let excess = ($0.lost[source.path]?.count ?? 0) - Self.maxLost
                        if excess > 0 { $0.lost[source.path]?.removeFirst(excess) }
                    }
                }
                if count == 0 || count < 0 && errno != EAGAIN && errno != EINTR {
                    sources.removeAll { $0.source.descriptor == source.descriptor }
                    close(source)
                }
            }
        }
        for (source, _) in sources { close(source) }
    }
}

/// A file of bounded size, of which only the end is kept.
final class BoundedFile {
    private let path: String
    private let limit: Int
    private var file: FileDescriptor
    private var size = 0

    init(_ path: String, limit: Int) throws(SystemError) {
        (self.path, self.limit) = (path, limit)
        file = try Self.open(path)
    }

    private static func open(_ path: String) throws(SystemError) -> FileDescriptor {
        try FileDescriptor.open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND)
    }

    /// Appends bytes. A full disk is no error.
    /// - Returns: the bytes that were not written.
    func append(_ bytes: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        if size + bytes.count > limit {
            // SAFETY: rename(2) only reads the paths.
            unsafe rename(path, path + ".old")
            guard let next = try? Self.open(path) else { return bytes }
            file = next
            size = 0
        }
        let raw = file.raw
        // SAFETY: the bytes live until write(2) returns.
        let count = unsafe max(0, bytes.withUnsafeBytes { unsafe write(raw, $0.baseAddress, $0.count) })
        size += count
        return bytes.dropFirst(count)
    }
}
