import Glibc
import LinuxKernel
import OCISpec
import TestSupport
import Testing

@testable import CommandLine

/// A state directory and bundles for commands.
struct CommandPlace {
    let scratch = Scratch()
    var root: String { scratch.path + "/root" }
    var context: RuntimeContext {
        RuntimeContext(root: root, configurationPath: scratch.path + "/c.toml", debug: false)
    }

    init(configuration: String = "") throws {
        try Files.makeDirectory(root)
        try Files.write(scratch.path + "/c.toml", configuration)
    }

    /// A bundle with the example's config.json.
    func bundle(_ change: (inout Spec) -> Void = { _ in }) throws -> String {
        var spec = Spec.example
        change(&spec)
        let path = scratch.path + "/bundle"
        try Files.makeDirectory(path + "/rootfs")
        try Files.write(path + "/config.json", String(decoding: spec.json(), as: UTF8.self))
        return try #require(Files.real(path))
    }

    /// The state of a container whose attach process is the calling process.
    func state(_ id: String, sandbox: String? = nil, pid: Int32 = getpid()) -> ContainerState {
        ContainerState(
            ociVersion: "1.2.0", id: id, bundle: "/b", rootfs: "/b/rootfs", sandbox: sandbox,
            address: root + "/none.sock", pid: pid, start: ProcessIdentity(pid)?.start,
            created: "2026-01-01T00:00:00Z", owner: 0, annotations: [:])
    }

    func save(_ state: ContainerState) throws {
        try Files.makeDirectory(root + "/" + state.id)
        try state.save(root: root)
    }
}
