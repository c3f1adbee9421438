import Glibc

/// A queue of bytes. It allocates memory for the first byte and frees it with the last.
struct ByteRing: ~Copyable {
    private var space = UnsafeMutableRawBufferPointer(start: nil, count: 0)
    private var start = 0
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }
    /// The allocated memory in bytes.
    var capacity: Int { space.count }

    deinit { space.deallocate() }

    /// Appends a copy of the buffers' bytes.
    /// - Parameter limit: the maximum size in bytes; the caller has checked that the bytes fit.
    mutating func append(_ buffers: [iovec], limit: Int) {
        precondition(count + Scatter.length(buffers) <= limit)
        if limit > capacity { move(to: limit) }
        for buffer in buffers { append(UnsafeRawBufferPointer(start: buffer.iov_base, count: buffer.iov_len)) }
    }

    private mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard !bytes.isEmpty else { return }
        let end = (start + count) % capacity
        let first = min(bytes.count, capacity - end)
        // SAFETY: `append` has checked that all bytes fit; the first part ends before the end of the memory, the second
        // one starts at its beginning.
        UnsafeMutableRawBufferPointer(rebasing: space[end...]).copyMemory(
            from: UnsafeRawBufferPointer(rebasing: bytes[..<first]))
        space.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[first...]))
        count += bytes.count
    }

    private mutating func move(to capacity: Int) {
        let old = space
        let runs = runs
        space = .allocate(byteCount: capacity, alignment: 16)
        (start, count) = (0, 0)
        for run in runs { append(UnsafeRawBufferPointer(start: run.iov_base, count: run.iov_len)) }
        old.deallocate()
    }

    /// All bytes from the oldest on, in one run or, where they wrap around, in two. Valid until the next change.
    var runs: [iovec] {
        guard let base = space.baseAddress, count > 0 else { return [] }
        let first = min(count, capacity - start)
        let run = iovec(iov_base: base + start, iov_len: first)
        return first == count ? [run] : [run, iovec(iov_base: base, iov_len: count - first)]
    }

    mutating func removeFirst(_ bytes: Int) {
        precondition(bytes <= count)
        count -= bytes
        if count > 0 {
            start = (start + bytes) % capacity
        } else {
            space.deallocate()
            (space, start) = (UnsafeMutableRawBufferPointer(start: nil, count: 0), 0)
        }
    }
}
