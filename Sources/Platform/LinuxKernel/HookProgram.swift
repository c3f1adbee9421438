import Glibc

/// A program of a hook: it reads a container's state and must end with status 0 (runtime.md, "Lifecycle").
package struct HookProgram: Sendable {
    package let path: String
    /// With the program's own name first; nil means the path alone (config.md, "POSIX-platform Hooks").
    package let arguments: [String]?
    package let environment: [String]
    /// The hook's own limit; nil means the caller's.
    package let timeout: Duration?

    /// The last lines of output that an error quotes.
    private static let quotedLines = 3

    package init(path: String, arguments: [String]?, environment: [String], timeout: Duration?) {
        (self.path, self.arguments, self.environment, self.timeout) = (path, arguments, environment, timeout)
    }

    /// Runs the program to its end. Blocks.
    /// - Parameters:
    ///   - lifecycle: the hook's list, such as `prestart`; errors name it.
    ///   - input: the state as JSON, for standard input.
    ///   - limit: for a hook without a limit.
    ///   - place: changes where the program runs; by default it runs where its caller does.
    ///   - collect: how to wait for the program's end, where one thread reaps all children.
    /// - Throws: `HookError` when the program can't be run, takes too long, or ends with another status.
    package func run(
        _ lifecycle: String, input: [UInt8], within limit: Duration, place: (inout Command) -> Void = { _ in },
        collect: (ChildProcess) -> ProcessExit = { $0.wait() }
    ) throws(HookError) {
        var command = Command(path, Array((arguments ?? [path]).dropFirst()), environment: environment)
        command.name = arguments?.first
        place(&command)
        let outcome: (end: ProcessExit, output: String)
        let limit = timeout ?? limit
        do { outcome = try command.run(input: input, within: limit, collect: collect) } catch {
            let reason = error.code == ETIMEDOUT ? "took longer than \(limit)" : "\(error)"
            throw HookError(lifecycle: lifecycle, path: path, reason: reason)
        }
        guard outcome.end != .exited(0) else { return }
        let words = outcome.output.split(separator: "\n").suffix(Self.quotedLines).joined(separator: " | ")
        throw HookError(
            lifecycle: lifecycle, path: path, reason: "\(outcome.end)" + (words.isEmpty ? "" : ": " + words))
    }
}

/// A hook that failed, and why.
package struct HookError: Error, Equatable, CustomStringConvertible {
    package let lifecycle: String
    package let path: String
    package let reason: String
    package var description: String { "\(lifecycle) hook \(path): \(reason)" }
}
