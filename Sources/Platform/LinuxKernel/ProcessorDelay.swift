/// How long threads that could run have waited for a processor.
package enum ProcessorDelay {
    /// The longest such time of a thread of a process, since its start (sched-stats.rst, /proc/PID/schedstat: the second
    /// number, in nanoseconds).
    /// - Returns: nil without the process, or on a kernel that doesn't count.
    package static func longest(of process: Int32) -> Duration? {
        let tasks = "/proc/\(process)/task/"
        return Files.list(tasks).compactMap { delay(in: (try? Files.readText(tasks + $0 + "/schedstat")) ?? "") }.max()
    }

    static func delay(in line: String) -> Duration? {
        let words = line.split(whereSeparator: \.isWhitespace)
        guard words.count == 3, let time = Int64(words[1]) else { return nil }
        return .nanoseconds(time)
    }
}
