import Cleanup
import Network
import SandboxCgroups

extension Ledger {
    /// Registers all kinds of things that sandboxes make. A process that reads ledgers calls it at its start.
    package static func registerKinds() { register([CgroupCleanup.self, ContainerCgroup.self, LinkCleanup.self]) }
}
