import Glibc

/// The end of a process.
package enum ProcessExit: Equatable, Sendable, CustomStringConvertible {
    case exited(Int32)
    case signalled(Int32)

    /// The end by SIGKILL; also the end of processes whose VM or shim is lost. Its status is 137.
    package static let killed = ProcessExit.signalled(SIGKILL)

    /// Whether the process exited by itself with a status other than 0.
    package var isFailure: Bool {
        if case .exited(let status) = self { return status != 0 }
        return false
    }

    /// The exit status as a shell shows it: 128+n for signal n.
    package var status: Int32 {
        switch self {
        case .exited(let status): status
        case .signalled(let signal): 128 + signal
        }
    }

    package var description: String {
        switch self {
        case .exited(let status): "exited with status \(status)"
        case .signalled(let signal): "was killed by signal \(signal)"
        }
    }
}
