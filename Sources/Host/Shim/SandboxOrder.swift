import Configuration
import Network
import OCISpec
import Pod
import Sandbox
import ShimAPI

/// Everything that a manager says of a new sandbox: in the specification of its first container, or by the Sandbox API.
struct SandboxOrder: Sendable {
    /// Path of configuration.toml; nil: the shim's own, or the default one.
    var configurationPath: String?
    var annotations: [String: String] = [:]
    /// The place of the annotations, for errors.
    var source: String
    var hostname = ""
    var network: Network
    /// The size that is known before the boot.
    var demand = Demand()
    var pod = PodLimits()
    /// Names the cgroup, and the host's processors.
    var linux: OCISpec.Linux?
    var isPod = false
    var standalone: SandboxPlan.Standalone?

    enum Network: Sendable {
        /// The network that a container's specification asks for.
        /// - process: pid of the attach process.
        case specification(Spec, process: Int32?)
        /// A namespace that the manager has made; empty: the sandbox makes its own.
        /// - field: the name of the path in errors.
        case namespace(path: String, field: String)
    }

    init(source: String, network: Network) { (self.source, self.network) = (source, network) }

    /// The sandbox of a first container.
    /// - Parameter process: pid of the attach process.
    /// - Throws: `UsageError` for runtime options that can't be decoded.
    init(_ request: Containerd_Task_V2_CreateTaskRequest, _ spec: Spec, process: Int32?) throws {
        self.init(source: request.bundle + "/config.json", network: .specification(spec, process: process))
        configurationPath = try RuntimeOptions.configurationPath(request.options)
        describe(spec)
        isPod = PodRole(spec) == .sandbox
        if isPod { pod = PodLimits(annotations: annotations) }
    }

    /// Takes what a specification says of its sandbox.
    mutating func describe(_ spec: Spec) {
        annotations = spec.annotations ?? [:]
        hostname = spec.hostname ?? ""
        demand = Demand(beforeBoot: spec)
        linux = spec.linux
    }

    /// - Throws: `SpecError` for a network namespace that a machine can't have.
    func networkSettings(_ configuration: Configuration, _ host: NetworkSettings.Host = .current) throws(SpecError)
        -> NetworkSettings
    {
        switch network {
        case .specification(let spec, let process):
            try NetworkSettings(spec, process: process, configuration: configuration, host: host, source: source)
        case .namespace(let path, let field):
            try NetworkSettings(
                namespace: path, configuration: configuration, host: host, source: source, field: field)
        }
    }
}
