import Configuration
import EventLoop
import Glibc
import LinuxKernel
import OCISpec
import Pod

/// The network namespace of a machine, and the way the guest gets its links.
package struct NetworkSettings: Sendable, Equatable {
    package enum Namespace: Sendable, Equatable {
        /// The guest has no network (`disable_new_netns`).
        case none
        /// A namespace that is made and removed with the sandbox.
        case made
        case path(String)
    }

    package let namespace: Namespace
    package let model: InternetworkingModel
    /// Queues of each card: how many processors can send and receive side by side.
    package let queues: Int
    /// The host's kernel moves frames (vhost-net).
    package let vhost: Bool

    /// Facts of the host on which the settings depend.
    package struct Host: Sendable, Equatable {
        /// Identity of the runtime's network namespace.
        package var namespace: UInt64
        /// Identity of the namespace that a path leads to; nil when it leads to none.
        package var identity: @Sendable (String) -> UInt64?
        package var hasVhost: Bool

        package init(namespace: UInt64, hasVhost: Bool, identity: @escaping @Sendable (String) -> UInt64?) {
            (self.namespace, self.hasVhost, self.identity) = (namespace, hasVhost, identity)
        }

        package static func == (left: Host, right: Host) -> Bool {
            left.namespace == right.namespace && left.hasVhost == right.hasVhost
        }

        package static var current: Host {
            let identity: @Sendable (String) -> UInt64? = { (try? NetworkNamespace.open($0))?.identity }
            return Host(
                namespace: identity("/proc/self/ns/net") ?? 0, hasVhost: Files.exists("/dev/vhost-net"),
                identity: identity)
        }
    }

    /// No network.
    package static let none = NetworkSettings()

    private init() { (namespace, model, queues, vhost) = (.none, .none, 1, false) }

    /// - Parameter process: pid of the attach process, whose namespace the sandbox uses.
    /// - Throws: `SpecError` for a namespace that is the host's or another container's.
    package init(_ spec: Spec, process: Int32?, configuration: Configuration, host: Host, source: String)
        throws(SpecError)
    {
        try self.init(configuration, host) { () throws(SpecError) in
            try Self.namespace(of: spec, process, host, source)
        }
    }

    /// - Parameters:
    ///   - path: the namespace that a manager has made; empty: the sandbox makes its own.
    ///   - field: the name of the path in errors.
    /// - Throws: `SpecError` for a namespace that is the host's, or none.
    package init(
        namespace path: String, configuration: Configuration, host: Host, source: String, field: String
    ) throws(SpecError) {
        try self.init(configuration, host) { () throws(SpecError) in
            guard !path.isEmpty else { return .made }
            try Self.check(path, host, source, field)
            return .path(path)
        }
    }

    /// - Parameter find: finds the namespace, unless the guest has no network.
    private init(_ configuration: Configuration, _ host: Host, find: () throws(SpecError) -> Namespace)
        throws(SpecError)
    {
        model = InternetworkingModel(rawValue: configuration[Keys.internetworkingModel]) ?? .tcfilter
        let queues = configuration[Keys.networkQueues]
        self.queues = queues == 0 ? max(1, Int(configuration[Keys.vcpus].rounded(.up))) : queues
        vhost = host.hasVhost && !configuration[Keys.disableVhostNet]
        if configuration[Keys.disableNewNamespace] {
            guard model == .none else {
                throw SpecError(
                    configuration.sources.first ?? "the configuration", "runtime.disable_new_netns",
                    "true needs internetworking_model = \"none\", not \"\(model.rawValue)\": nothing of the host's network may be given to a guest"
                )
            }
            namespace = .none
            return
        }
        namespace = try find()
    }

    private static func namespace(of spec: Spec, _ process: Int32?, _ host: Host, _ source: String)
        throws(SpecError) -> Namespace
    {
        let namespaces = spec.linux?.namespaces ?? []
        guard let index = namespaces.firstIndex(where: { $0.type == "network" }) else {
            throw SpecError(
                source, "linux.namespaces",
                "host networking is not possible: a machine has a network of its own; give the container a network namespace, or publish its ports"
            )
        }
        let field = "linux.namespaces[\(index)].path"
        let path = namespaces[index].path ?? ""
        guard !path.isEmpty else {
            return process.map { .path("/proc/\($0)/ns/net") } ?? .made
        }
        try check(path, host, source, field)
        if let owner = NamespacePath.process(of: path), PodRole(spec) == .none {
            throw SpecError(
                source, field,
                "\(path) is that of another container (process \(owner)), whose links can't be in a second machine: give both a common network, or let both be in one machine, as a pod or by kata-runtime"
            )
        }
        return .path(path)
    }

    /// Refuses what is no network namespace, and the host's own.
    private static func check(_ path: String, _ host: Host, _ source: String, _ field: String) throws(SpecError) {
        guard let identity = host.identity(path) else {
            throw SpecError(source, field, "\(path) is no network namespace, or is gone")
        }
        guard identity != host.namespace else {
            throw SpecError(
                source, field,
                "\(path) is the host's: host networking is not possible, a machine has a network of its own")
        }
    }
}

extension NetworkSettings.Namespace {
    /// Opens or makes it; nil for none.
    /// - Throws: `SystemError` when the namespace can't be opened or made.
    package func open() async throws -> NetworkNamespace? {
        switch self {
        case .none: nil
        // The thread that makes the namespace ends after this call.
        case .made: try await blocking("network") { try NetworkNamespace.make() }
        case .path(let path): try NetworkNamespace.open(path)
        }
    }
}
