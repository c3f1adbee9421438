import LinuxKernel

extension Deadline {
    static let cgroupRelease = Deadline(
        .seconds(10), for: "the last processes of a cgroup to exit",
        then: "the cgroup stays; `kata-runtime check --leaks` names it")
}
