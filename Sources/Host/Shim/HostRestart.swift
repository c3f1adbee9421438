import Cleanup
import LinuxKernel
import Sandbox

/// The first command after a start of the host takes away what sandboxes had left before it, and runs the hooks that were due.
package enum HostRestart {
    package static func clear() {
        var due: [DueHooks] = []
        Ledger.cleanUpAfterRestart { due += DueHooks.claimAll(in: $0) }
        for hooks in due { hooks.run { writeError("kata: \($0)") } }
    }
}
