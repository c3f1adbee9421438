import Glibc
import LinuxKernel

extension [Hook] {
    /// What all of them may take.
    package var limitSeconds: Int { reduce(0) { $0 &+ Swift.min($1.timeout ?? Deadline.hook.seconds, 1 << 20) } }
}

extension Hook {
    /// Runs the hook's program with the state on its standard input (runtime.md, "Lifecycle").
    /// - Parameters:
    ///   - standard: the limit for a hook that states none.
    ///   - place: says where the program runs, when not where this one does.
    /// - Throws: `HookError` when it can't be run, takes too long, or ends with a status other than 0.
    package func run(
        _ stage: String, _ state: State, standard: Duration = Deadline.hook.limit,
        place: (inout Command) -> Void = { _ in },
        collect: (ChildProcess) -> ProcessExit = { $0.wait() }
    ) throws(HookError) {
        // args holds the program's own name first (config.md, "POSIX-platform Hooks").
        var command = Command(path, Array((args ?? [path]).dropFirst()), environment: env ?? [])
        command.name = args?.first
        place(&command)
        let outcome: (end: ProcessExit, output: String)
        let limit = timeout.map { Duration.seconds($0) } ?? standard
        do { outcome = try command.run(input: state.json(), within: limit, collect: collect) } catch {
            let reason = error.code == ETIMEDOUT ? "took longer than \(limit)" : "\(error)"
            throw HookError(stage: stage, path: path, reason: reason)
        }
        guard outcome.end != .exited(0) else { return }
        let words = outcome.output.split(separator: "\n").suffix(3).joined(separator: " | ")
        throw HookError(stage: stage, path: path, reason: "\(outcome.end)" + (words.isEmpty ? "" : ": " + words))
    }
}

package struct HookError: Error, Equatable, CustomStringConvertible {
    package let stage: String
    package let path: String
    package let reason: String
    package var description: String { "\(stage) hook \(path): \(reason)" }
}
