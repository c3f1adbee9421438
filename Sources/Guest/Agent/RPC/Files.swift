import AgentAPI
import EventLoop
import Glibc
import LinuxKernel
import SwiftProtobuf
import TTRPC

/// Files that the host hands over where it can't share them.
extension Service {
    /// Below these the host may write, and nowhere else.
    private static let copyRoots = ["/run/kata-containers/", "/var/run/kata-containers/"]

    func copyFile(_ request: Grpc_CopyFileRequest, _ context: CallContext) async throws -> Google_Protobuf_Empty {
        try await guest.answering {
            guard let root = Self.copyRoots.first(where: { request.path.hasPrefix($0) }),
                !request.path.split(separator: "/").contains("..")
            else {
                throw RPCError(
                    .invalidArgument, "path: \"\(request.path)\" is not below \(Self.copyRoots[0])")
            }
            guard request.offset >= 0, request.fileSize >= 0 else {
                throw RPCError(.invalidArgument, "offset, file_size: a negative number")
            }
            try await blocking("copy") { try Self.copy(request, relative: String(request.path.dropFirst(root.count))) }
            return Google_Protobuf_Empty()
        }
    }

    /// A chunk of a file goes to `path.tmp`, which becomes `path` when it is complete.
    ///
    /// Containers can write below some of these directories: no link is followed on the way.
    private static func copy(_ request: Grpc_CopyFileRequest, relative: String) throws {
        let names = relative.split(separator: "/").map(String.init)
        guard let name = names.last else { throw RPCError(.invalidArgument, "path: names no file") }
        var parent = try FileDescriptor.open("/run/kata-containers", O_DIRECTORY)
        for name in names.dropLast() {
            let isNew = mkdirat(parent.raw, name, 0o755) == 0
            if !isNew, errno != EEXIST { throw SystemError("make directory", request.path, errno: errno) }
            let flags = O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
            parent = FileDescriptor(owning: try check("open", request.path) { openat(parent.raw, name, flags) })
            if isNew, request.dirMode != 0 { fchmod(parent.raw, mode_t(request.dirMode & 0o7777)) }
        }
        let path = request.path
        let (owner, group) = (uid_t(bitPattern: request.uid), gid_t(bitPattern: request.gid))
        let mode = mode_t(request.fileMode & 0o7777)
        switch request.fileMode & UInt32(S_IFMT) {
        case UInt32(S_IFDIR):
            if mkdirat(parent.raw, name, 0o755) != 0, errno != EEXIST {
                throw SystemError("make directory", path, errno: errno)
            }
            let flags = O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
            let made = FileDescriptor(owning: try check("open", path) { openat(parent.raw, name, flags) })
            try check("set owner of", path) { fchown(made.raw, owner, group) }
            try check("set mode of", path) { fchmod(made.raw, mode) }
        case UInt32(S_IFLNK):
            let target = String(decoding: request.data, as: UTF8.self)
            if unlinkat(parent.raw, name, 0) != 0, errno != ENOENT { throw SystemError("replace", path, errno: errno) }
            try check("make link", path) { symlinkat(target, parent.raw, name) }
            try check("set owner of", path) {
                fchownat(parent.raw, name, owner, group, Int32(AT_SYMLINK_NOFOLLOW))
            }
        case 0, UInt32(S_IFREG):
            let partial = name + ".tmp"
            // A pipe in its place would keep the thread for ever.
            let flags =
                O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | (request.offset == 0 ? O_TRUNC : 0)
            let file = FileDescriptor(owning: try check("open", path) { openat(parent.raw, partial, flags, 0o600) })
            try check("seek in", path) { lseek(file.raw, off_t(request.offset), SEEK_SET) < 0 ? -1 : 0 }
            try file.writeAll(Array(request.data), to: path)
            guard request.offset + Int64(request.data.count) >= request.fileSize else { return }
            try check("set owner of", path) { fchown(file.raw, owner, group) }
            try check("set mode of", path) { fchmod(file.raw, mode) }
            try check("replace", path) { renameat(parent.raw, partial, parent.raw, name) }
        default:
            throw RPCError(
                .invalidArgument, "file_mode: \(request.fileMode) is neither a file, a directory nor a link")
        }
    }
}
