import LinuxKernel

extension Deadline {
    static let cleanupLock = Deadline(
        .seconds(5), for: "another process that cleans up the same sandbox", then: "both clean up what is left")
    package static let process = Deadline(
        .seconds(2), for: "a process of the sandbox to exit after SIGKILL", then: "the next record is undone")
}
