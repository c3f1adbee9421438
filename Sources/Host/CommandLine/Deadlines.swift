import LinuxKernel

extension Deadline {
    static let shimStart = Deadline(
        .seconds(30), for: "the shim to start", then: "it is killed")
    static let shimCreate = Deadline(
        .seconds(75),
        for: "the shim's answer to create, beside `create_container_timeout` and four times `dial_timeout`",
        then: "the container is cleaned up by its ledger, the shim first")
    static let shimProcess = Deadline(
        .seconds(120), for: "the shim's answer to a start or an exec", then: "the command fails")
    static let shimAnswer = Deadline(
        .seconds(15), for: "the shim's answer to a signal or a change, and its exit",
        then: "`delete --force` cleans up the sandbox by its ledger, the shim first; other commands fail")
    static let shimDelete = Deadline(
        .seconds(30), for: "the shim's answer to a query or a deletion", then: "as above")
    static let pod = Deadline(
        .seconds(10), for: "a killed container to exit whose sandbox has others", then: "it is deleted all the same")
    static let containerView = Deadline(
        .seconds(10), for: "the attach process to take the container's files", then: "the container is removed")
    static let attachProcess = Deadline(
        .seconds(1), for: "the attach process to exit with its container, and once more after SIGKILL",
        then: "it is killed, then left to the kernel")
}
