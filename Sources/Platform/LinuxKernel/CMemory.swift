import Glibc

/// C strings and arrays that stay valid as long as this object.
final class CMemory {
    private var blocks: [UnsafeMutableRawPointer] = []

    deinit { for block in blocks { free(block) } }

    /// A NUL-terminated copy of `text`.
    func string(_ text: String) -> UnsafePointer<CChar> { UnsafePointer(mutableString(text)) }

    /// A NULL-terminated vector of C strings, as execve(2) takes it.
    func strings(_ texts: [String]) -> UnsafePointer<UnsafeMutablePointer<CChar>?> {
        array(texts.map(mutableString) + [nil])
    }

    /// A copy of `elements`.
    func array<Element: BitwiseCopyable>(_ elements: [Element]) -> UnsafePointer<Element> {
        let block = malloc(max(1, elements.count) * MemoryLayout<Element>.stride)!
        blocks.append(block)
        let start = block.bindMemory(to: Element.self, capacity: max(1, elements.count))
        start.update(from: elements, count: elements.count)
        return UnsafePointer(start)
    }

    private func mutableString(_ text: String) -> UnsafeMutablePointer<CChar> {
        let copy = strdup(text)!
        blocks.append(copy)
        return copy
    }
}
