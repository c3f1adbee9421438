import LinuxKernel

extension Deadline {
    static let notice = Deadline(
        .seconds(2), for: "the host's kernel to kill the process that tells of a container's lack of memory",
        then: "it is killed by the shim: managers that watch the cgroup see no kill")
}
