import GuestSpec
import LinuxKernel
import Share
import Synchronization

/// Shared files without a daemon and without mounts.
package final class FakeShare: SharedFileSystem, ShareMounts {
    private struct State: Sendable {
        var servers: [FakeFileServer] = []
        var startError: SystemError?
        var attached: [String] = []
    }
    private let state = Mutex(State())

    package init() {}

    /// Lets each start fail.
    package func failStarts(_ error: SystemError?) { state.withLock { $0.startError = error } }
    package var servers: [FakeFileServer] { state.withLock { $0.servers } }
    /// The targets of all mounts.
    package var attached: [String] { state.withLock { $0.attached } }

    package let driver = "fake-fs"
    package let fileSystemType = "fakefs"
    package let serverName = "fakefsd"
    package let words = ["/usr/bin/fake-fs"]

    package func start(
        exporting directory: String, socketPath: String, log: borrowing FileDescriptor,
        admit: @escaping (ProcessIdentity) throws(SystemError) -> Void
    ) throws -> any FileServer {
        if let error = state.withLock({ $0.startError }) { throw error }
        let server = FakeFileServer()
        state.withLock { $0.servers.append(server) }
        return server
    }

    // MARK: ShareMounts

    package func export(_ mounts: String, at exported: String) throws {}

    package func copy(_ share: GuestSpec.HostPathShare, in view: ManagerView?) throws(SystemError) -> SourceCopy {
        let tree = try FileDescriptor.open(share.source, 0)
        let identity = try SourceCopy.Identity(share, tree)
        return SourceCopy(tree, identity)
    }

    package func attach(_ copy: borrowing SourceCopy, at target: String) throws {
        state.withLock { $0.attached.append(target) }
    }

    package func setWritable(_ isWritable: Bool, _ mounted: [String], name: String, servers: [Int32])
        throws(SystemError)
    {}

    package func contains(_ share: String, _ rest: String, _ identity: SourceCopy.Identity) -> Bool { true }

    package func overlay(_ options: MountOptions, at target: String) throws {
        state.withLock { $0.attached.append(target) }
    }
}

package final class FakeFileServer: FileServer {
    private let exit = OneShot<ProcessExit>()
    private let halted = Mutex(false)

    package init() {}

    package let name = "fakefsd"
    package func waitForExit() async -> ProcessExit { await exit.wait() }
    package let processes: [Int32] = []
    package var isHalted: Bool { halted.withLock { $0 } }
    package func stop() { exit.complete(.signalled(9)) }

    /// Ends it as a crash does.
    package func end(_ end: ProcessExit) { exit.complete(end) }
    package func halt() { halted.withLock { $0 = true } }
    package var hasEnded: Bool { exit.value != nil }
}
