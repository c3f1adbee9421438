import LinuxKernel

extension Deadline {
    static let hotPlug = Deadline(
        .seconds(3), for: "a hot-plugged disk, link or processor to appear", key: "agent.hotplug_timeout",
        then: "the call fails and names it")
    static let modules = Deadline(
        .seconds(10), for: "the kernel modules that containers may need", then: "the agent goes on without them")
    static let stage = Deadline(
        .seconds(60), for: "a new process to reach its program", then: "it is killed, and the call fails")
    static let guestOutput = Deadline(
        .milliseconds(500), for: "the output of an exited process to leave the guest",
        then: "the exit is reported; the rest follows")
    static let quietGuestOutput = Deadline(
        .milliseconds(50), for: "another byte of that output", then: "the exit is reported")
    static let guestHook = Deadline(
        .seconds(10), for: "a hook from the guest image", then: "it is killed, with a line on the console")
}
