import CLinux
import Glibc
import LinuxKernel

/// A page of shared memory where a process's init writes an error that it can't send.
///
/// A filter of system calls may forbid the exec and every call that could report it. Writing memory needs no call, and
/// exec unmaps the page.
package enum ErrorPage {
    /// The descriptor's number in the started process.
    package static let number: Int32 = 5
    private static let size = 4096

    /// An empty page.
    /// - Throws: `SystemError` for lack of a descriptor or memory.
    package static func make() throws(SystemError) -> FileDescriptor {
        // SAFETY: the call only reads the label.
        let page = unsafe FileDescriptor(
            owning: try checkNegativeErrno("make", "error page", clx_memory_file("error")))
        try check("size", "error page") { ftruncate(page.raw, off_t(size)) }
        return page
    }

    /// The error; empty when there is none.
    package static func read(_ page: borrowing FileDescriptor) -> String {
        var bytes = [UInt8](repeating: 0, count: size)
        // SAFETY: pread(2) writes at most `size` bytes, as many as the array has.
        let count = unsafe pread(page.raw, &bytes, size, 0)
        return String(decoding: bytes.prefix(max(0, count)).prefix { $0 != 0 }, as: UTF8.self)
    }

    /// The page in the process that may have to write it.
    @safe struct Page {
        // SAFETY: mapped once, for the rest of the process's life; only this process writes it.
        private let memory: UnsafeMutableRawPointer

        /// Maps the page and closes its descriptor.
        init() throws(SystemError) {
            defer { close(ErrorPage.number) }
            // SAFETY: the kernel chooses a free place; the file has the whole page, and nothing unmaps it before exec.
            let mapped = unsafe mmap(nil, ErrorPage.size, PROT_READ | PROT_WRITE, MAP_SHARED, ErrorPage.number, 0)
            guard let mapped = unsafe mapped, unsafe mapped != MAP_FAILED else {
                throw SystemError("map", "error page", errno: errno)
            }
            unsafe memory = unsafe mapped
            // Allocates the page now: later the filter may forbid what a page fault needs.
            unsafe memory.storeBytes(of: 0, as: UInt8.self)
        }

        func write(_ text: String) {
            let bytes = Array(text.utf8.prefix(ErrorPage.size - 1))
            // SAFETY: the bytes are fewer than the page has.
            unsafe memory.copyMemory(from: bytes, byteCount: bytes.count)
        }
    }
}
