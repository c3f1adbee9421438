import EventLoop
import Glibc
import LinuxKernel
import Streams

/// Output that is still open after its process has ended.
extension Sandbox {
    /// The maximum of bytes that a guest may send after a container's end. They fill a pipe of the largest size, the
    /// buffers of two relays, and those of the channel.
    private static let maxLateBytes = 4 << 20

    /// Closes the output of a container that has ended, when the guest keeps it open. A manager that reads to the end
    /// would wait for ever.
    ///
    /// A slow reader still gets what waits for it: such a stream is closed once the reader has taken everything.
    func boundOutput(of process: ContainerProcess, in container: String) {
        let open = process.outputs.filter { !$0.hasEnded }.map { (stream: $0, maximum: $0.moved + Self.maxLateBytes) }
        guard !open.isEmpty else { return }
        Task(executorPreference: executor) { [relay = parts.relay, log, loop] in
            var rest = open
            while !rest.isEmpty {
                try? await sleep(Deadline.closing.limit, on: loop)
                rest.removeAll { $0.stream.hasEnded }
                let late = rest.filter { !$0.stream.isUnread || $0.stream.moved > $0.maximum }
                rest.removeAll { each in late.contains { $0.stream === each.stream } }
                guard !late.isEmpty else { continue }
                log.warning(
                    "the guest keeps the output of an ended container open: it is closed",
                    metadata: ["container": "\(container)"])
                for (stream, _) in late { relay?.end(stream) }
            }
        }
    }

    /// Ends the output of a deleted process that its manager has not read within a limit. A process that never ran has
    /// none: its streams end at once.
    func abandonOutput(of process: ContainerProcess) {
        guard process.state != .created else { return process.closeStreams(parts.relay) }
        let outputs = process.outputs.filter(\.isUnread).map { (stream: $0, moved: $0.moved) }
        guard !outputs.isEmpty else { return }
        Task(executorPreference: executor) { [relay = parts.relay, loop] in
            try? await sleep(Deadline.unread.limit, on: loop)
            for (stream, moved) in outputs where stream.isUnread && stream.moved == moved { relay?.end(stream) }
        }
    }
}
