import Glibc

/// A queue of bytes. It allocates memory for the first byte and frees it with the last.
@safe struct ByteRing: ~Copyable {
    // SAFETY: the buffer is empty: it has no memory.
    private var space = unsafe UnsafeMutableRawBufferPointer(start: nil, count: 0)
    private var start = 0
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }
    /// The allocated memory in bytes.
    var capacity: Int {
        // SAFETY: the length is read; the memory is not.
        unsafe space.count
    }

    // SAFETY: the memory is owned: the struct can't be copied, and changes `space` only with its owner.
    deinit { unsafe space.deallocate() }

    /// Appends a copy of the buffers' bytes.
    /// - Parameter limit: the maximum size in bytes; the caller has checked that the bytes fit.
    mutating func append(_ buffers: [iovec], limit: Int) {
        // SAFETY: the caller's buffers live until the call returns; their bytes are copied.
        unsafe precondition(count + Scatter.length(buffers) <= limit)
        if limit > capacity { move(to: limit) }
        for index in unsafe buffers.indices {
            let buffer = unsafe buffers[index]
            unsafe append(UnsafeRawBufferPointer(start: buffer.iov_base, count: buffer.iov_len))
        }
    }

    private mutating func append(_ bytes: UnsafeRawBufferPointer) {
        // SAFETY: the length is read; the memory is not.
        guard unsafe !bytes.isEmpty else { return }
        let end = (start + count) % capacity
        let first = min(bytes.count, capacity - end)
        // SAFETY: `append` has checked that all bytes fit; the first part ends before the end of the memory, the second
        // one starts at its beginning.
        unsafe UnsafeMutableRawBufferPointer(rebasing: space[end...]).copyMemory(
            from: UnsafeRawBufferPointer(rebasing: bytes[..<first]))
        unsafe space.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[first...]))
        count += bytes.count
    }

    private mutating func move(to capacity: Int) {
        // SAFETY: the runs point into `old`, which is freed after the copy.
        let old = unsafe space
        let runs = unsafe runs
        unsafe space = .allocate(byteCount: capacity, alignment: 16)
        (start, count) = (0, 0)
        for index in unsafe runs.indices {
            unsafe append(UnsafeRawBufferPointer(start: runs[index].iov_base, count: runs[index].iov_len))
        }
        unsafe old.deallocate()
    }

    /// All bytes from the oldest on, in one run or, where they wrap around, in two. Valid until the next change.
    var runs: [iovec] {
        guard let base = unsafe space.baseAddress, count > 0 else { return unsafe [] }
        let first = min(count, capacity - start)
        // SAFETY: `start` and both lengths lie within the memory.
        let run = unsafe iovec(iov_base: base + start, iov_len: first)
        return unsafe first == count ? [run] : [run, iovec(iov_base: base, iov_len: count - first)]
    }

    mutating func removeFirst(_ bytes: Int) {
        precondition(bytes <= count)
        count -= bytes
        if count > 0 {
            start = (start + bytes) % capacity
        } else {
            // SAFETY: no byte is left, and `space` forgets the freed memory at once.
            unsafe space.deallocate()
            unsafe (space, start) = (UnsafeMutableRawBufferPointer(start: nil, count: 0), 0)
        }
    }
}
