import Glibc
import LinuxKernel
import Synchronization

/// A directory for one test, removed with it, or at the end of the process: where a mount of another namespace is still
/// in it, or an object that outlives its test holds it.
package final class Scratch: Sendable {
    package let path: String

    private static let all = Mutex<Set<String>?>(nil)

    package init() {
        var template = Array("/tmp/kata-test-XXXXXX".utf8CString)
        path = template.withUnsafeMutableBufferPointer { String(cString: mkdtemp($0.baseAddress!)) }
        Self.all.withLock { all in
            if all == nil { atexit { for path in Scratch.all.withLock({ $0 ?? [] }) { Files.removeTree(path) } } }
            all = (all ?? []).union([path])
        }
    }

    deinit {
        Files.removeTree(path)
        if !Files.exists(path) { Self.all.withLock { _ = $0?.remove(path) } }
    }
}
