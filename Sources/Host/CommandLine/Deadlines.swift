import LinuxKernel

extension Deadline {
    static let shimStart = Deadline(
        .seconds(30), for: "the shim to start", then: "it is killed")
    static let shimCreate = Deadline(
        .seconds(75),
        for: "the shim's answer to create, beside `create_container_timeout` and four times `dial_timeout`",
        then: "the container is cleaned up by its ledger, the shim first")
    static let containerView = Deadline(
        .seconds(10), for: "the attach process to take the container's files", then: "the container is removed")
    static let attachProcess = Deadline(
        .seconds(1), for: "the attach process to exit with its container, and once more after SIGKILL",
        then: "it is killed, then left to the kernel")
}
