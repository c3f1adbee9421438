import Configuration
import LinuxKernel
import Shim

/// The options that every command has.
package struct RuntimeContext: Sendable {
    /// Directory of the state of containers, absolute.
    package let root: String
    /// The configuration.toml to read; nil: the first of the search path.
    package let configurationPath: String?
    /// Whether to log at debug level, whatever configuration.toml says.
    package let debug: Bool

    /// - Parameter configurationPath: nil: the environment may name a file (`KATA_RUNTIME_CONFIG`).
    package init(root: String, configurationPath: String?, debug: Bool) {
        self.root = root
        self.configurationPath =
            configurationPath ?? ShimServer.environment(SandboxHolder.configurationVariable)
        self.debug = debug
        if debug { ErrorLog.shared.enableDebug(isAsked: true) }
    }

    /// Reads the configuration, and logs at debug level if it says so.
    /// - Throws: `ConfigurationError` as `Configuration.load`.
    package func loadConfiguration() throws(ConfigurationError) -> Configuration {
        let configuration = try Configuration.load(configurationPath, keys: .all)
        if configuration[Keys.runtimeDebug] { ErrorLog.shared.enableDebug() }
        return configuration
    }

    /// Reads the state of a container.
    /// - Throws: as `ContainerState.load`.
    package func state(_ id: String) throws -> ContainerState {
        let state = try ContainerState.load(root: root, id: id)
        ErrorLog.shared.debug(
            "container \(id) is in sandbox \(state.sandboxName), its shim serves \(state.address), its attach process is \(state.pid)"
        )
        return state
    }

    /// Connects to the shim of a container.
    /// - Throws: as `state(_:)`; `SystemError` when the shim's socket has no listener.
    package func connect(to id: String) throws -> TaskClient { try TaskClient.connect(state(id).address) }

    /// A client of the shim of a container that has not ended.
    /// - Throws: as `connect(to:)`; `RuntimeError` when the container has ended, `RPCError` when its shim doesn't
    ///   answer.
    package func connect(toRunning id: String) throws -> TaskClient { try state(id).connectIfRunning() }

    func directory(of id: String) -> String { ContainerState.directory(root: root, id: id) }
}
