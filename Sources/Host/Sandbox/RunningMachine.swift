import AgentAPI
import Channel
import Cleanup
import Hypervisor
import LinuxKernel
import Share
import Streams
import TTRPC

/// The parts of a sandbox's machine that exist.
struct MachineParts: Sendable {
    var logs: BoundedLogs?
    var relay: StreamRelay?
    var channel: (any GuestChannel)?
    var fileServer: (any FileServer)?
    var vm: (any VirtualMachine)?
    var connection: RPCClient?
    /// The last record before the machine's own, where another sandbox had the machine before.
    var beginning: Ledger.RecordID?

    /// Processes of the file server; empty before it is started.
    var serverProcesses: [Int32] { fileServer?.processes ?? [] }

    /// Ends the machine. Its file server ends at once, unless the guest powers off by itself: it needs its files then.
    /// - Parameter grace: how long it may take to power off; zero: it is killed.
    func endMachine(grace: Duration) async {
        if grace == .zero { fileServer?.stop() }
        await vm?.stop(timeout: grace)
        fileServer?.stop()
    }

    /// Ends what has served the machine.
    func close() {
        channel?.close()
        relay?.stop()
        logs?.stop()
    }
}

/// A virtual machine whose guest answers, with all that serves it on the host.
struct RunningMachine: Sendable {
    /// The source of the machine.
    enum Origin: Sendable {
        case booted
        /// Cloned from a VM template.
        case clone
        /// Taken from a warm sandbox.
        case warm
    }

    let vm: any VirtualMachine
    let fileServer: any FileServer
    let channel: any GuestChannel
    /// The ttrpc connection to the agent.
    let connection: RPCClient
    /// Moves the bytes of processes' streams.
    let relay: StreamRelay
    /// Keeps the console and the helpers' output.
    let logs: BoundedLogs
    var origin: Origin
    /// Everything in the ledger after this record is the machine's.
    let beginning: Ledger.RecordID
    /// Names of the agent's features beside Kata's API (`AgentFeature`).
    var agentFeatures: [String] = []
    /// The guest's unit of memory hot-plug, in MiB.
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
