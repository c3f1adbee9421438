import LinuxKernel

/// Prints what a guest has said. Nothing of it steers the terminal.
func show(_ text: String, terminator: String = "\n") {
    print(text.printable(keepsLines: true), terminator: terminator)
}

func show(_ bytes: [UInt8], terminator: String = "\n") {
    show(String(decoding: bytes, as: UTF8.self), terminator: terminator)
}
