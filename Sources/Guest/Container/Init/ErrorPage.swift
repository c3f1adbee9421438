import CLinux
import Glibc
import LinuxKernel

/// What the first steps of a process have to say when nothing lets them speak any more: a page of memory that the agent reads.
///
/// A filter of system calls may forbid the exec and every way to tell of it. Memory needs no call to be written, and a program that
/// was started has no part in it.
package enum ErrorPage {
    /// The descriptor's number in the started process.
    package static let number: Int32 = 5
    private static let size = 4096

    /// An empty page.
    package static func make() throws(SystemError) -> FileDescriptor {
        let page = FileDescriptor(
            owning: try checkNegativeErrno("make", "page of last words", clx_memory_file("words")))
        try check("size", "page of last words") { ftruncate(page.raw, off_t(size)) }
        return page
    }

    /// What was said; empty when nothing was.
    package static func read(_ page: borrowing FileDescriptor) -> String {
        var bytes = [UInt8](repeating: 0, count: size)
        let count = pread(page.raw, &bytes, size, 0)
        return String(decoding: bytes.prefix(max(0, count)).prefix { $0 != 0 }, as: UTF8.self)
    }

    /// The page as the process that may have to write it sees it.
    struct Page {
        // SAFETY: mapped once for the process's whole life; nobody else writes it.
        private let memory: UnsafeMutableRawPointer

        /// Takes the descriptor over.
        init() throws(SystemError) {
            defer { close(ErrorPage.number) }
            let mapped = mmap(nil, ErrorPage.size, PROT_READ | PROT_WRITE, MAP_SHARED, ErrorPage.number, 0)
            guard let mapped, mapped != MAP_FAILED else {
                throw SystemError("map", "page of last words", errno: errno)
            }
            memory = mapped
            // Made now: nothing may be left to do when the time comes.
            memory.storeBytes(of: 0, as: UInt8.self)
        }

        func write(_ text: String) {
            let bytes = Array(text.utf8.prefix(ErrorPage.size - 1))
            memory.copyMemory(from: bytes, byteCount: bytes.count)
        }
    }
}
