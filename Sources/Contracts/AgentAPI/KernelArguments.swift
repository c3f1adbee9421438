/// Words of the guest kernel's command line that the host writes and the agent reads; the names are those of Kata's
/// agent.
package enum KernelArguments {
    /// `agent.log=debug`: the least important level that the agent logs.
    package static let log = "agent.log"
    /// `agent.debug_console`: serve the debug console.
    package static let debugConsole = "agent.debug_console"
    /// `agent.debug_console_vport=1026`: the debug console's vsock port.
    package static let debugConsolePort = "agent.debug_console_vport"
    /// `agent.hotplug_timeout=3`: seconds to wait for a hot-plugged device.
    package static let hotPlugTimeout = "agent.hotplug_timeout"
}

/// Lines on the guest's console that the host looks for.
package enum ConsoleLine {
    /// Starts each line that the agent writes.
    package static let agentPrefix = "kata-agent: "
    /// Says that the agent has loaded everything but has no host yet: a VM template can be saved now.
    package static let templateReady = agentPrefix + "ready, and waits for its host"
}
