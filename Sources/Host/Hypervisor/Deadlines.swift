import LinuxKernel

extension Deadline {
    static let monitor = Deadline(
        .seconds(60), for: "the first answer of QEMU's monitor", then: "the VM is killed; at once when QEMU exits")
    static let command = Deadline(
        .seconds(5), for: "any command to QEMU's monitor", then: "the call fails")
    static let release = Deadline(
        .seconds(5), for: "the guest to release a device", then: "the call fails")
    static let growth = Deadline(
        .seconds(3), for: "the guest to plug or unplug memory", then: "the VM keeps its size, with a line in the log")
    static let saving = Deadline(
        .seconds(30), for: "the state of a VM to be saved or restored",
        then: "`factory init` fails; a sandbox boots instead")
    static let finalOutput = Deadline(
        .milliseconds(200), for: "the last output of QEMU and the console after QEMU's exit",
        then: "the exit is reported without it")
    static let machineEnd = Deadline(
        .seconds(5), for: "QEMU's exit after SIGKILL", then: "the sandbox is cleaned up all the same")
}
