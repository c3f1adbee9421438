import LinuxKernel

extension Deadline {
    package static let announcement = Deadline(
        .seconds(45), for: "the guest to report that it is up", key: "agent.kata.dial_timeout",
        then:
            "the VM is killed, where it did not wait for the host's processors (three times as long at most); the error says how far it booted and why it stopped. At once when the hypervisor or the file server exits"
    )
    package static let creation = Deadline(
        .seconds(60), for: "CreateContainer in the guest", key: "runtime.create_container_timeout",
        then: "the container is removed, in the guest once that has answered")
}
