import Glibc
import LinuxKernel
import Synchronization

/// The kernel modules that the image lists, in the order of their dependencies.
enum Modules {
    /// The list of modules that boot needs.
    static let boot = "/etc/kata-modules"
    /// The list of modules that containers may need.
    private static let later = "/etc/kata-modules-later"

    static func load(_ list: String) throws(SystemError) {
        guard Files.exists(list) else { return }
        let commandLine = KernelCommandLine.current
        for line in try Files.readText(list).split(separator: "\n") where !line.isEmpty {
            if list == later { raisePriorityIfNeeded() }
            let path = String(line)
            try ModuleDirectory.load(path, commandLine.parameters(ofModule: path))
            log.debug("module is loaded", ["path": path])
            // In an initrd the file takes memory, and the kernel has a copy now. An image is read-only and keeps it.
            // SAFETY: the call only reads the path.
            unsafe unlink(path)
        }
    }

    private enum Progress { case idle, needed, loaded }
    private static let progress = Mutex(Progress.idle)
    /// The read end of a pipe that ends when all modules are loaded.
    private static let done = Mutex<Int32>(-1)

    /// Loads the other modules in the background, at the lowest priority until a caller waits for them.
    static func loadLater() throws(SystemError) {
        let pipe = try Pipe()
        let writeEnd = try pipe.writeEnd.duplicate().take()
        let readEnd = try pipe.readEnd.duplicate().take()
        done.withLock { $0 = readEnd }
        detachThread("modules") {
            setpriority(ownThread, 0, lowestPriority)
            do { try load(later) } catch { log.error(error) }
            progress.withLock { $0 = .loaded }
            close(writeEnd)
        }
    }

    private static let lowestPriority: Int32 = 19
    /// With id 0, Linux means the calling thread (setpriority(2), NOTES).
    private static let ownThread = __priority_which_t(PRIO_PROCESS.rawValue)

    private static func raisePriorityIfNeeded() {
        if progress.withLock({ $0 == .needed }) { setpriority(ownThread, 0, 0) }
    }

    /// Waits until all modules are loaded, or until `Deadline.modules`. A use of a disk, link or file system waits
    /// first.
    static func wait() {
        let isPending = progress.withLock { progress in
            if progress == .idle { progress = .needed }
            return progress != .loaded
        }
        let end = done.withLock { $0 }
        guard isPending, end >= 0 else { return }
        _ = isReady(end, for: 0, within: Deadline.modules.limit)
    }
}
