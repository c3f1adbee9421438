import Glibc
import LinuxKernel

/// Prints text of a guest. Control characters are replaced, so that they can't steer the terminal.
package func printGuest(_ text: String, terminator: String = "\n") {
    print(text.printable(keepsLines: true), terminator: terminator)
    fflush(nil)
}

package func printGuest(_ bytes: [UInt8], terminator: String = "\n") {
    printGuest(String(decoding: bytes, as: UTF8.self), terminator: terminator)
}
