import Cleanup
import OCISpec
import Pod
import Testing

@testable import GuestSpec

@Suite("What a pod can't have of the host's kernel")
struct PodRefusalsTests {
    /// The refusal of a specification with this container type; nil when it is taken.
    private func refusal(_ type: String?, _ change: (inout Spec) -> Void) -> String? {
        var spec = Spec.example
        if let type { spec.annotations = ["io.kubernetes.cri.container-type": type] }
        change(&spec)
        do {
            _ = try GuestSpec(
                spec, container: "c1", paths: SandboxPaths(sandbox: "s1"), kind: { _ in .directory },
                memory: { _ in nil })
            return nil
        } catch { return error.description }
    }

    private func bind(_ option: String) -> (inout Spec) -> Void {
        { $0.mounts = [Mount(destination: "/v", type: "bind", source: "/x", options: ["rbind", option])] }
    }

    @Test("a volume with propagation to the host is refused by its name in Kubernetes, in one line")
    func bidirectional() {
        for type in ["sandbox", "container"] {
            #expect(
                refusal(type, bind("rshared"))
                    == "config.json: mounts[0].options: \"rshared\" (mountPropagation: Bidirectional) of /v is not possible: what a container mounts is in its machine, not on the host; use HostToContainer or None"
            )
            #expect(refusal(type, bind("rslave")) == nil && refusal(type, bind("rprivate")) == nil)
        }
        #expect(refusal(nil, bind("rshared")) == nil)
    }

    @Test("a pod in the host's IPC namespace is refused, in one line")
    func hostIPC() {
        let remove: (inout Spec) -> Void = { $0.linux?.namespaces?.removeAll { $0.type == "ipc" } }
        #expect(
            refusal("sandbox", remove)
                == "config.json: linux.namespaces: hostIPC is not possible: a machine has its own shared memory and semaphores; leave hostIPC out"
        )
        #expect(refusal("container", remove) == nil && refusal(nil, remove) == nil)
    }
}
