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
        .seconds(3), for: "the cleanup after a dead shim, or of a container that containerd has lost",
        then: "containerd gets its answer; the cleanup goes on")
    static let lostShim = Deadline(
        .seconds(60), for: "the shim to accept a connection of its `delete`, and to answer it",
        then: "it counts as dead: it is killed, and its sandbox cleaned up")
    package static let shimProcess = Deadline(
        .seconds(120), for: "the shim's answer to a start or an exec", then: "the command fails")
    package static let shimAnswer = Deadline(
        .seconds(15), for: "the shim's answer to a signal or a change, and its exit",
        then: "`delete --force` cleans up the sandbox by its ledger, the shim first; other commands fail")
    package static let shimDelete = Deadline(
        .seconds(30), for: "the shim's answer to a query or a deletion", then: "as above")
    package static let pod = Deadline(
        .seconds(10), for: "a killed container to exit whose sandbox has others", then: "it is deleted all the same")
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
