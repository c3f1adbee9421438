import Hypervisor
import LinuxKernel

/// Numbers of the descriptors that QEMU inherits; 1 and 2 lead to its log.
enum QEMUDescriptor {
    /// The monitor's listener.
    static let monitor: Int32 = 3
    /// A template's memory, or the file in which to save it.
    static let memory: Int32 = 4
    /// Receives the guest's console.
    static let console: Int32 = 5
    /// Connections to the vhost-user devices; the host's vsock device instead of the first.
    static let vsock: Int32 = 6
    static let share: Int32 = 7
    /// Files that the guest boots. QEMU opens them through /proc/self/fd: it gets the files that were checked, even
    /// when their paths have changed.
    static let kernel: Int32 = 8
    static let initrd: Int32 = 9
    static let image: Int32 = 10
    static let firmware: Int32 = 11

    static func path(_ descriptor: Int32) -> String { "/proc/self/fd/\(descriptor)" }
}

extension VMConfiguration {
    /// Files that the guest boots from, by the numbers of QEMU's descriptors. A clone has kernel and initrd in its
    /// memory.
    var bootDescriptors: [Int32: OpenFile] {
        var files: [Int32: OpenFile] = [:]
        if memory != .saved {
            files[QEMUDescriptor.kernel] = kernel
            files[QEMUDescriptor.initrd] = initrd
        }
        files[QEMUDescriptor.image] = image?.file
        if case .file(let file) = firmware { files[QEMUDescriptor.firmware] = file }
        return files
    }

    /// The monitor's socket, for this process and for operators.
    var monitorSocket: String { directory + "/qmp.sock" }
    var pidFile: String { directory + "/qemu.pid" }
    /// QEMU's own output.
    var stderrFile: String { consoleFile + ".qemu" }
}
