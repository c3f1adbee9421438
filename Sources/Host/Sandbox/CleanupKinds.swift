import Cleanup
import Network
import SandboxCgroups

extension Ledger {
    /// Registers all kinds of things that sandboxes make, for a process that reads ledgers. To be called at its start.
    package static func registerKinds() { register([CgroupCleanup.self, LinkCleanup.self]) }
}
