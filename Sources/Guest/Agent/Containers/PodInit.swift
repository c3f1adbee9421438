import CLinux
import LinuxKernel

/// The first process of a pid namespace that containers share and none of them has made. It executes nothing, and reaps
/// orphans.
final class PodInit: Sendable {
    private let child: ChildProcess
    /// The read end of the pipe for signals: the process ends with one that has no reader.
    private let report: SharedDescriptor?

    var pid: Int32 { child.pid }

    init(_ child: ChildProcess, report: SharedDescriptor? = nil) { (self.child, self.report) = (child, report) }

    /// Must be called on a thread that does not end: the process ends with it.
    /// - Throws: `SystemError` when the pipe or the process can't be made.
    convenience init() throws(SystemError) {
        let pipe = try Pipe()
        // The agent's own command line may leave no room for a longer name.
        var command = Command.idle(named: "pause", report: pipe.writeEnd.raw)
        command.newNamespaces = UInt64(clx_new_pid.rawValue)
        self.init(try ChildProcess(command), report: SharedDescriptor(try pipe.readEnd.duplicate()))
    }
}
