import LinuxKernel

extension Deadline {
    static let event = Deadline(
        .seconds(5), for: "containerd to accept an event: each of five attempts, and all events left at the end",
        then: "the event is dropped, with a line in the log")
    static let shimInput = Deadline(
        .seconds(2), for: "standard input of the shim's `start`", then: "it counts as empty")
    static let forgotten = Deadline(
        .seconds(5), for: "a deletion of containers that have exited and whose bundles are gone",
        then: "the sandbox is stopped")
    static let unused = Deadline(
        .seconds(30), for: "a container of a shim that has none", then: "the shim ends")
    static let remains = Deadline(
        .seconds(3), for: "the cleanup after a dead shim", then: "containerd gets its answer; the cleanup goes on")
    static let cacheRequest = Deadline(
        .seconds(1), for: "the request of a client of the VM cache server", then: "its connection is closed")
    static let cacheAnswer = Deadline(
        .seconds(5), for: "an answer of the VM cache server, of a cached shim, or of the shim that takes its place",
        then: "the sandbox boots its own VM, with a warning; the cached shim exits")
    static let cacheFarewell = Deadline(
        .seconds(3), for: "a cached shim to exit by itself", then: "it is killed")
    static let cacheEnd = Deadline(
        .seconds(20), for: "the VM cache server to stop its warm VMs", then: "`factory destroy` fails")
}
