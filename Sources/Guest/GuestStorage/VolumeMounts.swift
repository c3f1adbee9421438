import AgentAPI
import CLinux
import Glibc
import LinuxKernel

/// Mounts of directories in a volume that containers can write to.
///
/// Containers may put links and files there at any time. Each name is opened without following links, so nothing
/// outside the volume is mounted.
enum VolumeMounts {
    /// Binds the directory, which is made if it is missing, or the file that is there, at the storage's mount point.
    static func mount(_ directory: VolumeDirectory, _ storage: Grpc_Storage) throws(SystemError) {
        let found = try open(directory, in: storage.source)
        let isDirectory = try found.facts(directory.place).st_mode & S_IFMT == S_IFDIR
        let target = storage.mountPoint
        try Files.makeDirectory(isDirectory ? target : Files.parent(of: target), mode: 0o755)
        if !isDirectory { try Files.write(target, "") }
        try Mounts.bind("/proc/self/fd/\(found.raw)", at: target)
    }

    private static func open(_ directory: VolumeDirectory, in volume: String) throws(SystemError) -> FileDescriptor {
        var place = try FileDescriptor.open(volume, Int32(clx_open_path) | O_DIRECTORY)
        for name in directory.place.split(separator: "/").map(String.init) {
            let parent = place.raw
            // SAFETY: the call only reads the name.
            var next = unsafe clx_open_plainly(parent, name, Int32(clx_open_path))
            if next == -ENOENT {
                try make(name, in: parent, directory)
                next = unsafe clx_open_plainly(parent, name, Int32(clx_open_path))
            }
            place = FileDescriptor(owning: try checkNegativeErrno("open \(directory.place) in", volume, next))
        }
        return place
    }

    private static func make(_ name: String, in parent: Int32, _ directory: VolumeDirectory) throws(SystemError) {
        // SAFETY: the calls with a name only read it; the others use no memory of the caller.
        guard unsafe mkdirat(parent, name, 0o700) == 0 else {
            // A container may have made it meanwhile.
            if errno == EEXIST { return }
            throw SystemError("make directory", directory.place, errno: errno)
        }
        let made = FileDescriptor(
            owning: unsafe try checkNegativeErrno(
                "open", directory.place, clx_open_plainly(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)))
        let raw = made.raw
        try check("give", directory.place) { fchown(raw, directory.owner, directory.group) }
        try check("set mode of", directory.place) { fchmod(raw, directory.mode) }
    }
}
