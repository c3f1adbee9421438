import AgentAPI
import EventLoop
import Glibc
import LinuxKernel
import SwiftProtobuf
import TTRPC

extension Service {
    /// The host may write below these and nowhere else: two names of one directory.
    private static let copyRoots = [GuestPaths.root + "/", "/var" + GuestPaths.root + "/"]

    /// Writes a file, or a part of it, that the host can't share.
    func copyFile(_ request: Grpc_CopyFileRequest, _ context: CallContext) async throws -> Google_Protobuf_Empty {
        try await mappingErrorsToRPC {
            guard let root = Self.copyRoots.first(where: { request.path.hasPrefix($0) }),
                !request.path.split(separator: "/").contains("..")
            else {
                throw RPCError(
                    .invalidArgument, "path: \"\(request.path)\" is not below \(Self.copyRoots[0])")
            }
            guard request.offset >= 0, request.fileSize >= 0 else {
                throw RPCError(.invalidArgument, "offset, file_size: a negative number")
            }
            let names = request.path.dropFirst(root.utf8.count).split(separator: "/").map(String.init)
            try await blocking("copy") { try FileCopy(request).run(below: GuestPaths.root, names) }
            return Google_Protobuf_Empty()
        }
    }
}

/// Makes one file, directory or link of a request.
///
/// Containers can write to some of these directories, so no link is followed on the way.
struct FileCopy {
    private let request: Grpc_CopyFileRequest
    private let path: String
    private let owner: uid_t
    private let group: gid_t
    private let mode: mode_t

    private static let directoryFlags = O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC
    private static let permissionBits: UInt32 = 0o7777

    init(_ request: Grpc_CopyFileRequest) {
        self.request = request
        path = request.path
        (owner, group) = (uid_t(bitPattern: request.uid), gid_t(bitPattern: request.gid))
        mode = mode_t(request.fileMode & Self.permissionBits)
    }

    /// - Parameter names: of the directories below `root`, then of the file.
    /// - Throws: `RPCError` with `invalidArgument`, or `SystemError`.
    func run(below root: String, _ names: [String]) throws {
        guard let name = names.last else { throw RPCError(.invalidArgument, "path: names no file") }
        let parent = try openParent(root, names.dropLast())
        switch request.fileMode & UInt32(S_IFMT) {
        case UInt32(S_IFDIR): try makeDirectory(name, in: parent)
        case UInt32(S_IFLNK): try makeLink(name, in: parent)
        case 0, UInt32(S_IFREG): try writeChunk(name, in: parent)
        default:
            throw RPCError(
                .invalidArgument, "file_mode: \(request.fileMode) is neither a file, a directory nor a link")
        }
    }

    /// Opens the last of the directories; makes those that are missing.
    private func openParent(_ root: String, _ names: ArraySlice<String>) throws(SystemError) -> FileDescriptor {
        var parent = try FileDescriptor.open(root, O_DIRECTORY)
        for name in names {
            // SAFETY: the call only reads the name.
            let isNew = unsafe mkdirat(parent.raw, name, 0o755) == 0
            if !isNew, errno != EEXIST { throw SystemError("make directory", path, errno: errno) }
            parent = try openDirectory(name, in: parent)
            if isNew, request.dirMode != 0 { fchmod(parent.raw, mode_t(request.dirMode & Self.permissionBits)) }
        }
        return parent
    }

    private func openDirectory(_ name: String, in parent: borrowing FileDescriptor) throws(SystemError)
        -> FileDescriptor
    {
        // SAFETY: the call only reads the name.
        FileDescriptor(owning: try check("open", path) { unsafe openat(parent.raw, name, Self.directoryFlags) })
    }

    private func makeDirectory(_ name: String, in parent: borrowing FileDescriptor) throws(SystemError) {
        // SAFETY: the call only reads the name.
        if unsafe mkdirat(parent.raw, name, 0o755) != 0, errno != EEXIST {
            throw SystemError("make directory", path, errno: errno)
        }
        try setOwnerAndMode(of: openDirectory(name, in: parent))
    }

    private func makeLink(_ name: String, in parent: borrowing FileDescriptor) throws(SystemError) {
        let target = String(decoding: request.data, as: UTF8.self)
        // SAFETY: the calls only read the name and the target.
        if unsafe unlinkat(parent.raw, name, 0) != 0, errno != ENOENT {
            throw SystemError("replace", path, errno: errno)
        }
        try check("make link", path) { unsafe symlinkat(target, parent.raw, name) }
        try check("set owner of", path) { unsafe fchownat(parent.raw, name, owner, group, Int32(AT_SYMLINK_NOFOLLOW)) }
    }

    /// Writes a chunk to `<path>.tmp`, which becomes `path` when it is complete.
    private func writeChunk(_ name: String, in parent: borrowing FileDescriptor) throws(SystemError) {
        let partial = name + ".tmp"
        // Without O_NONBLOCK, a fifo of that name would block the thread for ever.
        let flags = O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | (request.offset == 0 ? O_TRUNC : 0)
        // SAFETY: the calls only read the names.
        let file = FileDescriptor(owning: try check("open", path) { unsafe openat(parent.raw, partial, flags, 0o600) })
        try check("seek in", path) { lseek(file.raw, off_t(request.offset), SEEK_SET) < 0 ? -1 : 0 }
        try file.writeAll(Array(request.data), to: path)
        let (end, overflows) = request.offset.addingReportingOverflow(Int64(request.data.count))
        guard overflows || end >= request.fileSize else { return }
        try setOwnerAndMode(of: file)
        try check("replace", path) { unsafe renameat(parent.raw, partial, parent.raw, name) }
    }

    private func setOwnerAndMode(of file: borrowing FileDescriptor) throws(SystemError) {
        try check("set owner of", path) { fchown(file.raw, owner, group) }
        try check("set mode of", path) { fchmod(file.raw, mode) }
    }
}
