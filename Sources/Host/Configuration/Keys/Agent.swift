import LinuxKernel

/// Keys of the agent in the guest.
extension Keys {
    package static let agentDebug = Key("agent.kata.enable_debug", false, "The agent logs everything.")
    package static let debugConsole = Key(
        "agent.kata.debug_console_enabled", false,
        "Let kata-runtime exec SANDBOX open a shell in the guest, if its image has one.")
    package static let dialTimeout = Key(
        Deadline.announcement.key!, Deadline.announcement.seconds, in: 1...3600,
        "Maximum time that a guest may take to boot, in seconds. Time in which it waits for a processor of the host does "
            + "not count, up to three times as much.")

    package static let kernelModules = Key<[String]>(
        "agent.kata.kernel_modules", [],
        "Modules to load in the guest before its first container, from guest_modules_path: each a name, then its "
            + "parameters, such as \"e1000e EEE=1\".")

    static let agentKeys: [any AnyKey] = [agentDebug, debugConsole, dialTimeout, kernelModules]
}

extension Configuration {
    /// The time that a boot may take on a host whose processors are busy.
    package var longestDial: Duration { .seconds(self[Keys.dialTimeout] * 4) }
}
