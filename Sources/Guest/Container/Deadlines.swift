import LinuxKernel

extension Deadline {
    package static let cgroupRemoval = Deadline(
        .seconds(1), for: "the last process of a container's cgroup to go", then: "the cgroup stays")
}
