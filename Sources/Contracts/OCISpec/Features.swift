import Linux

/// What a runtime tells of itself before any container is there (features.md, features-linux.md).
package struct Features: Encodable, Sendable {
    let ociVersionMin = "1.0.0"
    let ociVersionMax = Spec.version
    /// createContainer is missing: it would run a program of the host inside the guest.
    let hooks = ["prestart", "createRuntime", "startContainer", "poststart", "poststop"]
    let mountOptions = MountOptions.names.sorted() + ["tmpcopyup"]
    let linux = LinuxFeatures()
    let annotations = ["io.katacontainers.runtime": "swift"]

    package static let current = Features()

    struct Switch: Encodable {
        let enabled: Bool
    }

    struct LinuxFeatures: Encodable {
        let namespaces = Vocabulary.namespaces.sorted()
        let capabilities = Vocabulary.capabilities.map { "CAP_" + $0 }
        let cgroup = Cgroup()
        let apparmor = Switch(enabled: true)
        let selinux = Switch(enabled: true)
        let intelRdt = Switch(enabled: false)
        let memoryPolicy = Switch(enabled: false)
        let mountExtensions = MountExtensions()
    }

    /// Of the guest: the host may have either version.
    struct Cgroup: Encodable {
        let v1 = false
        let v2 = true
        let systemd = true
        let systemdUser = false
        let rdma = true
    }

    struct MountExtensions: Encodable {
        let idmap = Switch(enabled: false)
    }
}
