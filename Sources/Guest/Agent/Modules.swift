import CLinux
import Glibc
import LinuxKernel
import Synchronization

/// The kernel modules that the image lists, in the order they need one another.
enum Modules {
    /// What the guest can't come up without.
    static let boot = "/etc/kata-modules"
    /// What containers may need.
    private static let later = "/etc/kata-modules-later"

    static func load(_ list: String) throws(SystemError) {
        guard Files.exists(list) else { return }
        let commandLine = KernelCommandLine.current
        for line in try Files.readText(list).split(separator: "\n") where !line.isEmpty {
            if list == later { yield() }
            let path = String(line)
            let file = try FileDescriptor.open(path, O_RDONLY)
            let result = clx_load_module(file.raw, commandLine.parameters(ofModule: path))
            // Built into the kernel, or loaded: as good.
            if result < 0, result != -EEXIST { throw SystemError("load module", path, errno: -result) }
            // In an initrd the file is memory, and the kernel has its own copy now. An image is read-only and stays as it is.
            unlink(path)
        }
    }

    private enum Later { case idle, wanted, loaded }
    private static let state = Mutex(Later.idle)
    /// Ends when all are there.
    private static let done = Mutex<Int32>(-1)

    /// Loads the rest on a thread that lets everything else go first, until somebody waits for it.
    static func loadLater() throws(SystemError) {
        let pipe = try Pipe()
        let ending = try pipe.writeEnd.duplicate().take()
        let end = try pipe.readEnd.duplicate().take()
        done.withLock { $0 = end }
        detachThread("modules") {
            setpriority(ownThread, 0, 19)
            do { try load(later) } catch { writeError("kata-agent: \(error)") }
            state.withLock { $0 = .loaded }
            close(ending)
        }
    }

    /// With id 0, Linux means the calling thread (setpriority(2), NOTES).
    private static let ownThread = __priority_which_t(PRIO_PROCESS.rawValue)

    /// Between two modules: as fast as anybody else when one is waited for.
    private static func yield() {
        if state.withLock({ $0 == .wanted }) { setpriority(ownThread, 0, 0) }
    }

    /// Waits until all are loaded: before a disk, a link or a file system is used that one of them may bring. Not for ever.
    static func wait() {
        let isOpen = state.withLock { state in
            if state == .idle { state = .wanted }
            return state != .loaded
        }
        let end = done.withLock { $0 }
        guard isOpen, end >= 0 else { return }
        var ended = pollfd(fd: end, events: 0, revents: 0)
        _ = poll(&ended, 1, Int32(Deadline.modules.seconds * 1000))
    }
}
