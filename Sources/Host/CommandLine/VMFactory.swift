import AgentAPI
import Configuration
import EventLoop
import Glibc
import LinuxKernel
import NIOCore
import Sandbox
import Shim
import Snapshot

/// The VM template and the VM cache that the configuration asks for (`kata-runtime factory`).
package struct VMFactory {
    private let configuration: Configuration
    /// The configuration.toml that cached shims read.
    private let configurationPath: String?
    /// nil if VMs are not cloned.
    private let template: VMTemplate?
    /// Why there is neither a template nor a cache; nil if there is one.
    private let unavailableReason: String?

    private var usesCache: Bool { configuration[Keys.cacheNumber] > 0 }
    private var endpoint: String { configuration[Keys.cacheEndpoint] }

    /// - Throws: `ConfigurationError` or `SystemError` for files that can't be used, and `RuntimeError` for a VM that
    ///   can't be cloned.
    package init(_ configuration: Configuration) throws {
        self.configuration = configuration
        configurationPath = configuration.sources.first
        guard configuration[Keys.enableTemplate] else {
            template = nil
            let source = configurationPath ?? "the configuration"
            unavailableReason =
                configuration[Keys.cacheNumber] > 0
                ? nil : "factory.enable_template is false and factory.vm_cache_number 0 in \(source)"
            return
        }
        let files = try configuration.openFiles()
        template = VMTemplate(try SandboxPlan.Basis(configuration, files: files))
        unavailableReason = nil
        guard template != nil else {
            throw RuntimeError("hypervisor.qemu.guest_channel: only vhost-user-vsock can be plugged into a clone")
        }
    }

    /// Saves a new VM template. With a cache, serves warm VMs until a signal or `destroy` ends it.
    /// - Parameter ready: called when the template is saved and the cache is full.
    /// - Throws: `RuntimeError` when the configuration asks for neither. `SystemError` and `VMError` of the template.
    ///   `ConfigurationError` and `CacheError` of the cache's server.
    package func initialize(ready: () -> Void) throws {
        if let unavailableReason { throw RuntimeError(unavailableReason) }
        // Before any thread is started: threads inherit the signal mask.
        let stopSignal = usesCache ? try EndSignals.descriptor() : nil
        if let template {
            let limit = Duration.seconds(configuration[Keys.dialTimeout])
            let loop = try makeEventLoop(descriptors: 64)
            try waiting(on: loop) { try await template.make(version: Version.current, within: limit, on: loop) }
        }
        guard let stopSignal else { return ready() }
        let server = try CacheServer(
            configuration, path: configurationPath, shim: try ShimProcess.executable(), stopSignal: stopSignal)
        try server.run(full: ready)
    }

    /// Removes the VM template, and ends the cache server and its VMs.
    /// - Throws: `RuntimeError` when the configuration asks for neither. `SystemError` (EPERM) for a directory that
    ///   holds no template. `CacheError` when the cache's server does not answer.
    package func destroy() throws {
        if let unavailableReason { throw RuntimeError(unavailableReason) }
        try template?.remove()
        if usesCache { try MachineCache.quit(at: endpoint) }
    }

    /// Lines for the user: the warm VMs, and whether VMs are cloned, or why not.
    package var status: [String] {
        var lines = unavailableReason.map { ["vm factory is off: \($0)"] } ?? []
        if usesCache { lines += cacheStatus }
        guard let template else { return lines }
        let reason = template.unavailableReason(version: Version.current)
        return lines + [reason.map { "vm factory is off: \($0)" } ?? "vm factory is on"]
    }

    private var cacheStatus: [String] {
        do {
            let (server, machines) = try MachineCache.status(at: endpoint)
            return ["VM cache server pid = \(server)"] + machines.map(\.line)
        } catch { return ["vm cache is off: \(error)"] }
    }
}

/// SIGINT, SIGTERM and SIGHUP as a descriptor for poll(2).
private enum EndSignals {
    /// - Returns: a descriptor that is readable after one of the signals.
    static func descriptor() throws -> SharedDescriptor {
        let signals = SignalSet([SIGINT, SIGTERM, SIGHUP])
        signals.block()
        let pipe = try Pipe()
        let readEnd = SharedDescriptor(try pipe.readEnd.duplicate())
        let writeEnd = SharedDescriptor(try pipe.writeEnd.duplicate())
        try startThread("signals") {
            _ = signals.wait()
            PipeSignal.send(writeEnd.raw)
        }
        return readEnd
    }
}
