import Cleanup
import LinuxKernel
import Sandbox

/// Cleanup after a restart of the host.
package enum HostRestart {
    /// Removes what sandboxes left before the host's start, and runs their pending hooks. Later calls do nothing.
    package static func clear() {
        var due: [DueHooks] = []
        Ledger.cleanUpAfterRestart { due += DueHooks.claimAll(in: $0) }
        for hooks in due { hooks.run { writeError("kata: \($0)") } }
    }
}
