import CLinux

/// A link whose other end is a process: frames are read and written behind a virtio-net header (tuntap.rst).
package enum TapDevice {
    /// Opens the device's queues, in the calling thread's network namespace; makes it where there is none.
    /// - Throws: `SystemError` when /dev/net/tun can't be opened, or the kernel refuses the name. ENAMETOOLONG for more
    ///   than 15 bytes, EBUSY while another process has the device.
    package static func open(_ name: String, queues: Int) throws(SystemError) -> [SharedDescriptor] {
        var opened: [SharedDescriptor] = []
        for _ in 0..<max(1, queues) {
            // SAFETY: the call only reads the name, and refuses one that is too long.
            let raw = try unsafe checkNegativeErrno("open tap", name, clx_open_tap(name, queues > 1 ? 1 : 0))
            opened.append(SharedDescriptor(FileDescriptor(owning: raw)))
        }
        return opened
    }
}
