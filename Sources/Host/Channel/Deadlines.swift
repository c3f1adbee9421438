import LinuxKernel

extension Deadline {
    package static let console = Deadline(
        .seconds(5), for: "the debug console: the client's request, and the guest's answer",
        then: "the stream is closed")
}
