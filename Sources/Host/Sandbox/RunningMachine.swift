import AgentAPI
import Channel
import Cleanup
import Hypervisor
import LinuxKernel
import Share
import Streams
import TTRPC

/// The parts of a sandbox's machine, as far as they are there.
struct MachineParts: Sendable {
    var logs: BoundedLogs?
    var relay: StreamRelay?
    var channel: (any GuestChannel)?
    var fileServer: (any FileServer)?
    var vm: (any VirtualMachine)?
    var connection: RPCClient?
    /// Everything in the ledger after this record is the machine's, where another sandbox had it before.
    var beginning: Ledger.RecordID?
}

/// A virtual machine whose guest answers, with all that serves it on the host.
struct RunningMachine: Sendable {
    /// Where the machine comes from.
    enum Origin: Sendable {
        case booted
        /// From a VM template.
        case clone
        /// From a warm sandbox.
        case warm
    }

    let vm: any VirtualMachine
    let fileServer: any FileServer
    let channel: any GuestChannel
    /// The ttrpc connection to the agent.
    let connection: RPCClient
    /// Moves the bytes of processes' streams.
    let relay: StreamRelay
    /// Keeps the console and what the helpers write.
    let logs: BoundedLogs
    var origin: Origin
    /// Everything in the ledger after this record is the machine's.
    let beginning: Ledger.RecordID
    /// Names of what the agent can do beside Kata's API (`AgentFeature`).
    var agentFeatures: [String] = []
    /// What the guest can add of memory at once, in MiB.
    var memoryBlockMiB = 128
    /// The last host port that was given to a stream.
    var lastPort: UInt32 = 2000

    var agent: AgentServiceClient { AgentServiceClient(client: connection) }

    var parts: MachineParts {
        MachineParts(
            logs: logs, relay: relay, channel: channel, fileServer: fileServer, vm: vm, connection: connection,
            beginning: beginning)
    }
}
