import CLinux
import Glibc

extension Command {
    private static let maxOutput = 64 << 10

    /// Runs the program to its end and collects its output, at most 64 KiB.
    /// - Parameters:
    ///   - input: the bytes on its standard input.
    ///   - limit: the program is killed after this time.
    ///   - collecting: the descriptors whose output is collected.
    ///   - collect: reaps the child, for a process in which something else reaps all children.
    /// - Throws: ETIMEDOUT after the limit, or when the program can't be started.
    package func run(
        input: [UInt8], within limit: Duration, collecting: [Int32] = [1, 2],
        collect: (ChildProcess) -> ProcessExit = { $0.wait() }
    ) throws(SystemError) -> (end: ProcessExit, output: String) {
        let deadline = ContinuousClock.now + limit
        // A file in memory, not a pipe: the program may read it late, in part, or never.
        // SAFETY: the call only reads the name.
        let document = FileDescriptor(
            owning: try checkNegativeErrno("make", "input of \(executable)", unsafe clx_memory_file("input")))
        try document.writeAll(input, to: "input of \(executable)")
        lseek(document.raw, 0, SEEK_SET)
        var command = self
        command.descriptors[0] = document.raw
        let child = try ChildWithOutput(command, output: collecting)
        var text: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        let pidfd = child.process.descriptor
        while true {
            let rest = (deadline - ContinuousClock.now) / .milliseconds(1)
            var ready = [
                pollfd(fd: child.output.raw, events: Int16(POLLIN), revents: 0),
                pollfd(fd: pidfd, events: Int16(POLLIN), revents: 0),
            ]
            // SAFETY: `ready` has the two elements that poll(2) may change.
            let count = try check("wait for", executable) { unsafe poll(&ready, 2, Int32(clamping: Int(max(0, rest)))) }
            guard count > 0 else {
                child.process.signal(SIGKILL)
                _ = collect(child.process)
                throw SystemError("run", executable, errno: ETIMEDOUT)
            }
            // Reads all available output before the exit. Doesn't wait for grandchildren that keep the pipe open.
            if ready[0].revents != 0 {
                // SAFETY: read(2) writes at most `count` bytes, and only those are used.
                let got = unsafe read(child.output.raw, &chunk, chunk.count)
                if got > 0 {
                    if text.count < Self.maxOutput { text += chunk[..<got] }
                    continue
                }
            }
            if ready[1].revents != 0 || ready[0].revents != 0 {
                return (collect(child.process), String(decoding: text, as: UTF8.self))
            }
        }
    }
}
