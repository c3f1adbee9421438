import Glibc

/// C strings and arrays that stay valid as long as this object.
@safe final class CMemory {
    // SAFETY: an empty list has no pointers.
    private var blocks: [UnsafeMutableRawPointer] = unsafe []

    // SAFETY: the list holds each block once, and nothing else frees them.
    deinit { for index in unsafe blocks.indices { unsafe free(blocks[index]) } }

    /// A NUL-terminated copy of `text`.
    func string(_ text: String) -> UnsafePointer<CChar> {
        // SAFETY: the copy lives as long as this object.
        unsafe UnsafePointer(mutableString(text))
    }

    /// A NULL-terminated vector of C strings, as execve(2) takes it.
    func strings(_ texts: [String]) -> UnsafePointer<UnsafeMutablePointer<CChar>?> {
        // SAFETY: the vector and its texts live as long as this object.
        unsafe array(texts.map(mutableString) + [nil])
    }

    /// A copy of `elements`.
    func array<Element: BitwiseCopyable>(_ elements: [Element]) -> UnsafePointer<Element> {
        // SAFETY: `blocks` keeps the new block until deinit frees it.
        let block = unsafe malloc(max(1, elements.count) * MemoryLayout<Element>.stride)!
        unsafe blocks.append(block)
        // SAFETY: the block has room for all elements.
        let start = unsafe block.bindMemory(to: Element.self, capacity: max(1, elements.count))
        unsafe start.update(from: elements, count: elements.count)
        return unsafe UnsafePointer(start)
    }

    private func mutableString(_ text: String) -> UnsafeMutablePointer<CChar> {
        // SAFETY: `blocks` keeps the new copy until deinit frees it.
        let copy = unsafe strdup(text)!
        unsafe blocks.append(copy)
        return unsafe copy
    }
}

/// Calls `body` with a NULL-terminated vector of C strings, valid during the call.
package func withCStrings<Result>(
    _ strings: [String], _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
    let memory = CMemory()
    // SAFETY: the memory is held until `body` returns.
    return withExtendedLifetime(memory) { unsafe body(memory.strings(strings)) }
}
