import LinuxKernel

extension Hook {
    /// The time that a hook without a limit may take.
    package static var defaultLimit: Duration { Deadline.hook.limit }

    /// The program that this hook runs.
    package var program: HookProgram {
        HookProgram(
            path: path, arguments: args, environment: Environment.lastOfEach(env ?? []),
            timeout: timeout.map { Duration.seconds($0) })
    }
}

extension [Hook] {
    /// The time that all of them together may take.
    package var limitSeconds: Int {
        reduce(0) { $0 &+ Swift.min($1.timeout ?? Deadline.hook.seconds, Self.maxSeconds) }
    }

    /// Bounds a hook's own limit, so that sums and durations of it stay in range.
    private static var maxSeconds: Int { 1 << 20 }
}
