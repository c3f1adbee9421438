import Glibc

/// Treats a list of buffers as one sequence of bytes.
enum Scatter {
    static func length(_ buffers: [iovec]) -> Int { buffers.reduce(0) { $0 &+ Int($1.iov_len) } }

    /// The part of the buffers from byte `start` on, at most `limit` bytes.
    static func slice(_ buffers: [iovec], from start: Int, limit: Int) -> [iovec] {
        var skip = start
        var left = limit
        var result: [iovec] = []
        for buffer in buffers where left > 0 {
            let length = Int(buffer.iov_len)
            if skip >= length {
                skip -= length
                continue
            }
            let count = min(length - skip, left)
            result.append(iovec(iov_base: buffer.iov_base + skip, iov_len: count))
            skip = 0
            left -= count
        }
        return result
    }

    static func copy(from source: UnsafeRawBufferPointer, to buffers: [iovec]) {
        var offset = 0
        for buffer in buffers where offset < source.count {
            let count = min(Int(buffer.iov_len), source.count - offset)
            buffer.iov_base.copyMemory(from: source.baseAddress! + offset, byteCount: count)
            offset += count
        }
    }

    static func copy(from buffers: [iovec], to target: UnsafeMutableRawBufferPointer) {
        var offset = 0
        for buffer in buffers where offset < target.count {
            let count = min(Int(buffer.iov_len), target.count - offset)
            (target.baseAddress! + offset).copyMemory(from: buffer.iov_base, byteCount: count)
            offset += count
        }
    }
}
