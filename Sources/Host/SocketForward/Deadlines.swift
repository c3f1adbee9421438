import LinuxKernel

extension Deadline {
    static let socket = Deadline(
        .seconds(10), for: "a socket of the host to accept a container's connection", then: "the connection is refused")
    package static let forward = Deadline(
        .seconds(5), for: "the agent to accept a stream for a forwarded connection", then: "the connection is reset")
    static let forwardAnswer = Deadline(
        .seconds(35), for: "the agent to say whether a forwarded connection is accepted",
        then: "the connection is reset")
}
