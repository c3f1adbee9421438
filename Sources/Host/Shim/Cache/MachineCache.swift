import AgentAPI
import Cleanup
import Configuration
import Glibc
import LinuxKernel

/// The client of a VM cache server.
package enum MachineCache {
    /// The prefix of warm VMs' directories, before their number: no sandbox's name begins with it.
    static let prefix = ".cached-"

    /// Hands the sandbox over to a cached shim, where the configuration names a VM cache.
    /// - Parameters:
    ///   - path: the configuration.toml that the cached shim reads.
    ///   - directory: the shim's working directory.
    ///   - warn: receives the reason when no cached shim can be used.
    /// - Returns: whether a cached shim serves now.
    package static func start(
        _ flags: ShimFlags, configuration: Configuration, path: String?, publisher: String?, socket: String,
        directory: String,
        warn: (String) -> Void
    ) -> Bool {
        guard configuration[Keys.cacheNumber] > 0 else { return false }
        let taker = CacheTaker(
            version: Version.current, settings: configuration.cacheSettings, process: getpid(),
            mounts: Mounts.namespace,
            id: flags.id, namespace: flags.namespace, address: flags.address, publishBinary: flags.publishBinary,
            debug: flags.debug, socket: socket, configuration: path, publisher: publisher,
            killFirst: try? Files.readText("/proc/self/oom_score_adj"), limits: ResourceLimits.inherited.text)
        do {
            try take(taker, at: configuration[Keys.cacheEndpoint], directory)
            return true
        } catch {
            clearDead()
            warn("no cached machine is used, the sandbox boots its own: \(error)")
            return false
        }
    }

    private static func take(_ taker: CacheTaker, at endpoint: String, _ directory: String) throws {
        let server = try connect(endpoint)
        let place = try FileDescriptor.open(directory, O_RDONLY | O_DIRECTORY)
        let log = try ShimServer.openLog(in: directory)
        let ends = try SocketPair()
        try server.tell(
            CacheRequest(wish: .take, taker: taker), descriptors: [ends.theirs.raw, place.raw, log.raw])
        let shim = ends.keepingOurs()
        guard let answer = try answer(on: shim, from: endpoint, within: Deadline.cacheAnswer.limit) else {
            throw CacheError("the cached machine ended while it was handed over")
        }
        if let refusal = answer.refusal { throw CacheError(refusal) }
        try Files.replace(directory + "/shim.pid", "\(answer.process)")
        try Files.replace(directory + "/address", SocketAddress.address(ofPath: taker.socket))
        // The shim lives without us from here on.
        try shim.send([1], descriptors: [])
    }

    private static func connect(_ endpoint: String) throws -> FileDescriptor {
        let server: FileDescriptor
        do { server = try UnixSocket.connect(endpoint, .messages) } catch {
            throw CacheError(
                "no VM cache server answers at \(endpoint) (\(SystemError.text(of: error.code))): start it with kata-runtime factory init, or set factory.vm_cache_number to 0"
            )
        }
        guard let user = server.peer, FileOwner.isTrusted(user) else {
            throw CacheError(
                "user \(server.peer.map { "\($0)" } ?? "unknown") listens at \(endpoint), not root: set factory.vm_cache_endpoint to a path in a directory of root's"
            )
        }
        return server
    }

    /// The server's pid, and its warm VMs.
    /// - Throws: `CacheError` when no server answers in time, or another user listens there. `SystemError` of the
    ///   request.
    package static func status(at endpoint: String) throws -> (server: Int32, machines: [CachedMachine]) {
        let answer = try ask(.status, at: endpoint, within: Deadline.cacheAnswer.limit)
        return (answer.process, answer.machines)
    }

    /// Ends the server and its warm VMs; returns when it is gone.
    /// - Throws: as `status(at:)`.
    package static func quit(at endpoint: String) throws {
        _ = try ask(.quit, at: endpoint, within: Deadline.cacheEnd.limit)
    }

    private static func ask(_ wish: CacheRequest.Wish, at endpoint: String, within limit: Duration) throws
        -> CacheAnswer
    {
        let server = try connect(endpoint)
        try server.tell(CacheRequest(wish: wish))
        guard let answer = try answer(on: server, from: endpoint, within: limit) else {
            throw CacheError("the VM cache server at \(endpoint) ended without an answer")
        }
        return answer
    }

    /// - Returns: nil when the other end is closed.
    private static func answer(on socket: borrowing FileDescriptor, from endpoint: String, within limit: Duration)
        throws -> CacheAnswer?
    {
        socket.setReadLimit(limit)
        do { return decodeMessage(CacheAnswer.self, try socket.receive(limit: CacheRequest.longest).bytes) } catch {
            let reason = error.code == EAGAIN ? " within \(limit.components.seconds) s: is it stopped?" : ": \(error)"
            throw CacheError("the VM cache server at \(endpoint) did not answer\(reason)")
        }
    }

    /// Cleans up after warm VMs whose shim has ended.
    static func clearDead() {
        for name in Files.list(Ledger.machines) where name.hasPrefix(prefix) {
            try? Ledger.cleanUpDead(Ledger.machines + "/" + name)
        }
    }
}
