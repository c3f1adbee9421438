import Glibc

/// Treats a list of buffers as one sequence of bytes.
enum Scatter {
    // SAFETY: the lengths are read; the memory is not.
    static func length(_ buffers: [iovec]) -> Int { unsafe buffers.reduce(0) { unsafe $0 &+ Int($1.iov_len) } }

    /// The part of the buffers from byte `start` on, at most `limit` bytes.
    static func slice(_ buffers: [iovec], from start: Int, limit: Int) -> [iovec] {
        var skip = start
        var left = limit
        // SAFETY: the lengths of the list and of the buffer are read; the memory is not.
        var result: [iovec] = unsafe []
        for index in unsafe buffers.indices where left > 0 {
            let buffer = unsafe buffers[index]
            let length = unsafe Int(buffer.iov_len)
            if skip >= length {
                skip -= length
                continue
            }
            let count = min(length - skip, left)
            // SAFETY: `skip + count` is at most the buffer's length.
            unsafe result.append(iovec(iov_base: buffer.iov_base + skip, iov_len: count))
            skip = 0
            left -= count
        }
        return unsafe result
    }

    static func copy(from source: UnsafeRawBufferPointer, to buffers: [iovec]) {
        var offset = 0
        // SAFETY: the lengths of the list and of the buffer are read; the memory is not.
        for index in unsafe buffers.indices where offset < source.count {
            let buffer = unsafe buffers[index]
            let count = unsafe min(Int(buffer.iov_len), source.count - offset)
            // SAFETY: `count` is at most the length of the buffer and of the rest.
            unsafe buffer.iov_base.copyMemory(from: source.baseAddress! + offset, byteCount: count)
            offset += count
        }
    }

    static func copy(from buffers: [iovec], to target: UnsafeMutableRawBufferPointer) {
        var offset = 0
        // SAFETY: the lengths of the list and of the buffer are read; the memory is not.
        for index in unsafe buffers.indices where offset < target.count {
            let buffer = unsafe buffers[index]
            let count = unsafe min(Int(buffer.iov_len), target.count - offset)
            // SAFETY: `count` is at most the length of the buffer and of the rest.
            unsafe (target.baseAddress! + offset).copyMemory(from: buffer.iov_base, byteCount: count)
            offset += count
        }
    }
}
