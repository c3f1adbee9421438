import LinuxKernel
import Sandbox
import ShimAPI
import SwiftProtobuf

extension ContainerdTasks {
    /// Publishes /tasks/exit when the process has ended.
    func publishExit(of container: String, _ process: ContainerProcess, pid: UInt32, in sandbox: Sandbox) {
        sandboxes.detached { [events, log, sandboxes] in
            defer { sandboxes.trimWhenIdle() }
            let (exec, end) = (process.id, await process.waitForEnd())
            log.debug(
                "process ended",
                metadata: ["container": "\(container)", "exec": "\(exec)", "status": "\(end.status)"])
            // Docker and CRI managers want it before the exit.
            if end.isOutOfMemory { self.publishOutOfMemory(of: container) }
            var event = Containerd_Events_TaskExit()
            event.containerID = container
            event.id = exec.isEmpty ? container : exec
            event.pid = pid
            event.exitStatus = UInt32(bitPattern: end.status)
            event.exitedAt = Google_Protobuf_Timestamp(end.at)
            events.publish("/tasks/exit", event)
            if exec.isEmpty { await self.endIfBundlesAreGone(sandbox) }
        }
    }

    /// Ends the sandbox when all its containers have ended and their bundles are gone.
    ///
    /// Some managers remove an ended container without Delete (Podman after its conmon was killed). Nothing tells the
    /// shim so: it looks for the bundles again after each pause.
    private func endIfBundlesAreGone(_ sandbox: Sandbox) async {
        repeat {
            guard let left = await sandbox.ended else { return }
            if left.bundles.allSatisfy({ !Files.exists($0 + "/config.json") }) {
                log.warning(
                    "the bundles were removed without Delete: the sandbox ends",
                    metadata: ["containers": "\(left.ids)"])
                left.ids.forEach(forget)
                return await end()
            }
        } while await sandboxes.pause(Deadline.forgotten.limit)
    }
}
