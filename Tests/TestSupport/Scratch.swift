import Glibc
import LinuxKernel

/// A directory for one test, removed with it.
package final class Scratch: Sendable {
    package let path: String

    package init() {
        var template = Array("/tmp/kata-test-XXXXXX".utf8CString)
        path = template.withUnsafeMutableBufferPointer { String(cString: mkdtemp($0.baseAddress!)) }
    }

    deinit { Files.removeTree(path) }
}
