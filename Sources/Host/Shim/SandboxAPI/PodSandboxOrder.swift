import LinuxKernel
import OCISpec
import Pod
import Sandbox
import ShimAPI
import SwiftProtobuf

/// Facts of the host that a pod gets where its configuration names none.
struct HostNames: Sendable {
    var hostname: String
    /// Text of /etc/hosts.
    var hosts: String
    /// Text of /etc/resolv.conf.
    var resolver: String

    static var current: HostNames {
        HostNames(
            hostname: (try? Files.readText("/proc/sys/kernel/hostname"))?.split(separator: "\n").first.map(String.init)
                ?? "", hosts: (try? Files.readText("/etc/hosts")) ?? "",
            resolver: (try? Files.readText("/etc/resolv.conf")) ?? "")
    }
}

extension SandboxOrder {
    /// The sandbox of a CreateSandbox. Its options are a pod's configuration (CRI), runtime options, a specification,
    /// or nothing: then the bundle may have a specification.
    /// - Throws: `SandboxError` (`invalid`) for options of another type, `SpecError` for a pod's configuration that a
    ///   machine can't meet. `SpecError` or `SystemError` of the bundle's specification.
    init(_ request: Containerd_Runtime_Sandbox_V1_CreateSandboxRequest, host: HostNames) throws {
        let options = request.options
        self.init(source: "CreateSandbox", network: .namespace(path: request.netnsPath, field: "netns_path"))
        isPod = true
        standalone = .init()
        switch options.typeURL.split(separator: "/").last.map(String.init) ?? "" {
        case Runtime_V1_PodSandboxConfig.protoMessageName:
            guard let pod = try? Runtime_V1_PodSandboxConfig(serializedBytes: Array(options.value)) else {
                throw SandboxError(.invalid, "options: not a \(Runtime_V1_PodSandboxConfig.protoMessageName)")
            }
            try take(pod, sandbox: request.sandboxID, host)
        case "Spec" where options.typeURL == SpecPart.spec.typeURL:
            take(try Spec.decode(json: Array(options.value), source: "options"))
        case let name where ["", "google.protobuf.Empty"].contains(name) || name.hasSuffix(Self.runtimeOptions):
            configurationPath = try RuntimeOptions.configurationPath(options)
            let file = request.bundlePath + "/config.json"
            if Files.exists(file) { take(try Spec.decode(json: try Files.read(file), source: file)) }
        default:
            throw SandboxError(
                .invalid,
                "options: type \(options.typeURL.printable()) is not known: expected "
                    + Runtime_V1_PodSandboxConfig.protoMessageName)
        }
        annotations.merge(request.annotations) { _, own in own }
    }

    /// The older CRI's name has a prefix.
    private static let runtimeOptions = Runtimeoptions_V1_Options.protoMessageName

    // MARK: A specification

    /// Takes the specification of a sandbox that is no container.
    private mutating func take(_ spec: Spec) {
        describe(spec)
        pod = PodLimits(annotations: annotations)
        standalone?.sysctls = spec.linux?.sysctl ?? [:]
        let index = spec.linux?.namespaces?.firstIndex { $0.type == "network" }
        guard case .namespace("", _) = network, let index else { return }
        network = .namespace(
            path: spec.linux?.namespaces?[index].path ?? "", field: "linux.namespaces[\(index)].path")
    }

    // MARK: A pod's configuration

    private mutating func take(_ pod: Runtime_V1_PodSandboxConfig, sandbox: String, _ host: HostNames) throws(SpecError)
    {
        source = Runtime_V1_PodSandboxConfig.protoMessageName
        let linux = pod.linux
        try refuse(linux.securityContext.namespaceOptions)
        // Those of the Container Runtime Interface are a manager's: here they are a user's.
        annotations = pod.annotations.filter { !$0.key.hasPrefix("io.kubernetes.cri") }
        hostname = pod.hostname
        let resources = linux.resources
        demand = Demand(
            podMemory: resources.memoryLimitInBytes, quota: resources.cpuQuota, period: resources.cpuPeriod,
            shares: resources.cpuShares)
        self.pod = PodLimits(demand, hasQuota: resources.cpuQuota > 0)
        let own = OCISpec.Linux(resources, cgroupParent: linux.cgroupParent, sandbox: sandbox)
        demand.add(sizesOf: own.resources)
        self.linux = own
        let overhead = linux.overhead.memoryLimitInBytes
        standalone = .init(
            files: PodFiles(pod, host), sysctls: Self.sysctls.merging(linux.sysctls) { _, own in own },
            memoryOverhead: overhead > 0 ? overhead : nil)
    }

    /// Refuses the host's network and IPC. The pid namespace of a pod on the host's is the guest's.
    private func refuse(_ options: Runtime_V1_NamespaceOption) throws(SpecError) {
        let field = "linux.security_context.namespace_options."
        if options.network == .node {
            throw SpecError(
                source, field + "network",
                "host networking is not possible: a machine has a network of its own; leave hostNetwork out")
        }
        if options.ipc == .node {
            throw SpecError(
                source, field + "ipc",
                "hostIPC is not possible: a machine has its own shared memory and semaphores; leave hostIPC out")
        }
    }

    /// The sysctls that containerd gives every pod that it opens with a container (`enable_unprivileged_ports`,
    /// `enable_unprivileged_icmp`).
    private static let sysctls = [
        "net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647",
    ]
}

extension OCISpec.Linux {
    /// - Parameter cgroupParent: the pod's cgroup, or its slice of systemd; empty: none.
    fileprivate init(_ given: Runtime_V1_LinuxContainerResources, cgroupParent: String, sandbox: String) {
        self.init()
        if !cgroupParent.isEmpty { cgroupsPath = Self.path(in: cgroupParent, of: sandbox) }
        var resources = Resources()
        resources.hugepageLimits = given.hugepageLimits.map { .init(pageSize: $0.pageSize, limit: $0.limit) }
        if !given.cpusetCpus.isEmpty || !given.cpusetMems.isEmpty {
            var processors = Resources.CPU()
            processors.cpus = given.cpusetCpus.isEmpty ? nil : given.cpusetCpus
            processors.mems = given.cpusetMems.isEmpty ? nil : given.cpusetMems
            resources.cpu = processors
        }
        self.resources = resources
    }

    /// The path that containerd gives the container that opens a pod.
    private static func path(in parent: String, of sandbox: String) -> String {
        let name = Files.name(of: parent)
        return name.hasSuffix(".slice") ? "\(name):cri-containerd:\(sandbox)" : parent + "/" + sandbox
    }
}

extension PodFiles {
    fileprivate init(_ pod: Runtime_V1_PodSandboxConfig, _ host: HostNames) {
        self.init(
            resolver: pod.hasDnsConfig ? Self.resolver(pod.dnsConfig) : host.resolver, hosts: host.hosts,
            hostname: pod.hostname.isEmpty ? host.hostname : pod.hostname)
    }

    /// Text of resolv.conf(5): what is listed more than once is there once.
    private static func resolver(_ names: Runtime_V1_DNSConfig) -> String {
        func unique(_ words: [String]) -> [String] {
            var seen: Set<String> = []
            return words.filter { !$0.isEmpty && seen.insert($0).inserted }
        }
        let (searches, options) = (unique(names.searches), unique(names.options))
        var lines = searches.isEmpty ? [] : ["search " + searches.joined(separator: " ")]
        lines += unique(names.servers).map { "nameserver " + $0 }
        if !options.isEmpty { lines.append("options " + options.joined(separator: " ")) }
        return lines.map { $0 + "\n" }.joined()
    }
}
