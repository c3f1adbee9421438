import LinuxKernel

extension Deadline {
    static let loss = Deadline(
        .seconds(2), for: "the hypervisor's exit after its channel has closed",
        then: "the loss of the agent is reported as the cause")
    static let exitAfterShare = Deadline(
        .milliseconds(200), for: "news of the hypervisor's exit after the file server has exited",
        then: "the loss of the share is reported as the cause")
    static let exitAfterAgent = Deadline(
        .milliseconds(200), for: "news of the hypervisor's exit after the agent's connection has closed",
        then: "the VM is killed because its agent has exited")
    static let setup = Deadline(
        .seconds(30), for: "CreateSandbox in the guest", then: "the call fails")
    static let details = Deadline(
        .seconds(10), for: "the guest to set its clock, mix in random numbers and report its features",
        then: "the sandbox goes on without; a clone without new random numbers fails")
    static let onlining = Deadline(
        .seconds(10), for: "the guest to bring new processors online", then: "the call fails")
    static let silence = Deadline(
        .seconds(1), for: "the next answer of a guest whose last call timed out",
        then: "the call fails as the last one did")
    static let farewell = Deadline(
        .seconds(2), for: "the guest to write its data to disk and confirm it", then: "the machine is killed")
    static let powerOff = Deadline(
        .seconds(1), for: "a guest that did not confirm it to power off", then: "the machine is killed")
    static let start = Deadline(
        .seconds(65), for: "a start (beside the timeouts of its hooks) or an exec in the guest",
        then: "the call fails, and its streams are closed")
    static let signal = Deadline(
        .seconds(10), for: "a signal to be delivered", then: "the VM is killed for SIGKILL; other signals fail")
    static let change = Deadline(
        .seconds(10), for: "pause, resume, update, resize, and statistics of a container", then: "the call fails")
    static let question = Deadline(
        .seconds(30), for: "queries forwarded to the agent", then: "the call fails")
    static let lateCreation = Deadline(
        .seconds(600), for: "the guest's answer to a creation whose time is over",
        then: "the container's name is free again; the guest may keep it")
    static let removal = Deadline(
        .seconds(15), for: "the guest to remove a container", then: "the container is removed on the host only")
    static let output = Deadline(
        .seconds(2), for: "the output that a process wrote before its exit",
        then: "the exit is reported; the rest follows when it is read")
    static let quietOutput = Deadline(
        .milliseconds(100), for: "another byte of that output while children hold the stream open",
        then: "the exit is reported")
    static let killed = Deadline(
        .seconds(10), for: "the guest to report the end of a killed process", then: "the process counts as killed")
    static let closing = Deadline(
        .seconds(5), for: "the guest to close the output of a container that has ended",
        then: "the output is closed once its reader has taken what waits for it")
    static let unread = Deadline(
        .seconds(10), for: "a manager to read the output of a deleted process",
        then: "streams that it does not read are closed")
}
