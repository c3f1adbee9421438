import LinuxKernel

extension Deadline {
    package static let cgroupRemoval = Deadline(
        .seconds(1), for: "the last process of a container's cgroup to go", then: "the cgroup stays")
    static let sessionEnd = Deadline(
        .seconds(2), for: "what a killed exec has started to be found and killed", then: "the rest goes on")
}
