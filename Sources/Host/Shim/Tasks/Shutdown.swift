import LinuxKernel
import ShimAPI
import SwiftProtobuf
import TTRPC

extension ContainerdTasks {
    /// Ends an empty sandbox and the shim, with `now` any sandbox but one that CreateSandbox has made: ShutdownSandbox
    /// ends that.
    /// - Throws: nothing. A sandbox that has containers goes on.
    package func shutdown(_ request: Containerd_Task_V2_ShutdownRequest, _ context: CallContext) async throws
        -> Google_Protobuf_Empty
    {
        if let sandbox = try? sandboxes.current() {
            let isForced = request.now && sandbox.plan.standalone == nil
            guard await sandbox.isUnused || isForced else { return Google_Protobuf_Empty() }
        }
        await end(context)
        return Google_Protobuf_Empty()
    }

    /// Ends the sandbox and the shim, once. Later calls wait for the end of the first.
    /// - Parameter context: the call after whose answer the shim ends; nil: at once.
    func end(_ context: CallContext? = nil) async {
        guard !isEnding.exchange(true, ordering: .relaxed) else { return await ended.wait() }
        await (try? sandboxes.current())?.stop()
        log.debug("shutting down")
        await sandboxes.stopWarm()
        await events.flush(within: Deadline.event.limit)
        shutdownRequested(context)
        ended.complete(())
    }
}
