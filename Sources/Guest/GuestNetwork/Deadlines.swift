import LinuxKernel

extension Deadline {
    static let guestNames = Deadline(
        .seconds(15), for: "another DNS query from a client in the guest", then: "its stream is closed")
}
