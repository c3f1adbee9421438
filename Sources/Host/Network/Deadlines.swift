import LinuxKernel

extension Deadline {
    static let names = Deadline(
        .seconds(30), for: "another DNS query from a client of the host's resolver", then: "its socket is closed")
    static let network = Deadline(
        .seconds(30), for: "a link or its routes in the guest", then: "the call fails")
    static let burst = Deadline(
        .milliseconds(50), for: "another change of the host's links, which come in bursts",
        then: "the changes are sent to the guest")
}
