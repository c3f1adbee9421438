import LinuxKernel

extension Deadline {
    static let guestNames = Deadline(
        .seconds(15), for: "another DNS query from a client in the guest", then: "its stream is closed")
    static let guestForward = Deadline(
        .seconds(30), for: "a program of the guest to accept a forwarded connection", then: "the connection is refused")
}
