import LinuxKernel

/// The features of this runtime (features.md, features-linux.md).
package struct Features: Encodable, Sendable {
    let ociVersionMin = "1.0.0"
    let ociVersionMax = Spec.version
    let hooks = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
    let mountOptions = MountOptions.names.sorted() + ["tmpcopyup"]
    let linux = LinuxFeatures()
    let annotations = ["io.katacontainers.runtime": "swift"]

    package static let current = Features()

    struct Switch: Encodable {
        let enabled: Bool
    }

    struct LinuxFeatures: Encodable {
        let namespaces = KernelNames.namespaces.sorted()
        let capabilities = KernelNames.capabilities.map { "CAP_" + $0 }
        let cgroup = Cgroup()
        let seccomp = Seccomp()
        let apparmor = Switch(enabled: true)
        let selinux = Switch(enabled: true)
        let intelRdt = Switch(enabled: false)
        let memoryPolicy = Switch(enabled: false)
        let mountExtensions = MountExtensions()
    }

    /// The guest's cgroups; the host may have either version.
    struct Cgroup: Encodable {
        let v1 = false
        let v2 = true
        let systemd = true
        let systemdUser = false
        let rdma = true
    }

    struct Seccomp: Encodable {
        let enabled = true
        let actions = KernelNames.seccompActions.map(\.name).filter { $0 != "SCMP_ACT_NOTIFY" }
        let operators = KernelNames.seccompOperators
        let archs = ["SCMP_ARCH_X32", "SCMP_ARCH_X86", "SCMP_ARCH_X86_64"]
        let knownFlags = KernelNames.seccompFlags.map(\.name)
        let supportedFlags = KernelNames.seccompFlags.map(\.name)
    }

    struct MountExtensions: Encodable {
        let idmap = Switch(enabled: true)
    }
}
