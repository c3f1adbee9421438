/// Waits for the guest's agent. Time in which the machine waited for a processor of the host does not count. On a busy
/// host a start takes longer, and does not fail.
struct PatientDial {
    /// The guest's own time.
    let limit: Duration
    /// The maximum of the whole wait.
    let longest: Duration
    /// How long the machine has waited for a processor, since its start; nil when unknown.
    let lost: () -> Duration?

    /// - Parameter dial: fails after the time that it gets.
    func callAsFunction(_ dial: (Duration) async throws -> Int32) async throws -> Int32 {
        let begin = ContinuousClock.now
        var (time, counted) = (limit, Duration.zero)
        while true {
            let tried = ContinuousClock.now
            do { return try await dial(time) } catch {
                let now = ContinuousClock.now
                // A timer of another clock may end a little early.
                guard now - tried >= time * 99 / 100, let total = lost() else { throw error }
                time = min(total - counted, longest - (now - begin))
                guard time >= limit / Self.shortestPart else { throw error }
                counted = total
            }
        }
    }

    /// A time shorter than this part of the limit is no sign of a busy host.
    private static let shortestPart = 50
}
