import LinuxKernel

extension Deadline {
    static let oldVolume = Deadline(
        .seconds(10),
        for: "readers in the guest to leave the files that an update of a ConfigMap or Secret has replaced",
        then: "those files are removed")
}
