import LinuxKernel

extension Deadline {
    package static let hook = Deadline(
        .seconds(60), for: "a hook without a timeout", then: "it is killed, and the lifecycle step fails")
}
