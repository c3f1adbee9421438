import LinuxKernel

extension Deadline {
    static let names = Deadline(
        .seconds(30), for: "another DNS query from a client of the host's resolver", then: "its socket is closed")
}
