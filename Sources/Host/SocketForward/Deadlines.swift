import LinuxKernel

extension Deadline {
    static let socket = Deadline(
        .seconds(10), for: "a socket of the host to accept a container's connection", then: "the connection is refused")
}
