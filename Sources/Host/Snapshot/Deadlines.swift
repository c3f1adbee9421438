import LinuxKernel

extension Deadline {
    static let saving = Deadline(
        .seconds(30), for: "the state of a VM to be saved or restored",
        then: "`factory init` fails; a sandbox boots instead")
}
