import Glibc
import LinuxKernel
import Synchronization

/// A volume that the guest can't have as a copy.
package struct VolumeFault: Sendable, Equatable {
    package enum Effect: Sendable {
        /// The guest has the volume itself: for a moment after an update its files may be missing.
        case isShared
        /// The guest keeps the files of before an update.
        case staysOld
    }
    /// The volume's directory on the host.
    package let volume: String
    package let effect: Effect
    package let error: SystemError
}

/// The volumes of a sandbox of which the guest sees a copy, and a thread that follows their updates.
package final class VolumeCopies: Sendable {
    private struct Followed: Sendable {
        var copy: VolumeCopy
        let watch: Int32?
        /// Whether an update has failed, and was reported: once, as a guest may cause it.
        var isReported = false
    }
    private struct State: Sendable {
        var copies: [String: Followed] = [:]
        var isStopped = false
    }
    private let state = Mutex(State())
    private let wakeUp: WakeUp
    /// nil where the host has no more: the thread looks from time to time then.
    private let watch: DirectoryWatch?

    private let report: @Sendable (VolumeFault) -> Void

    /// - Parameter report: gets the first update of each volume that can't be copied.
    init(report: @escaping @Sendable (VolumeFault) -> Void) throws(SystemError) {
        self.report = report
        wakeUp = try WakeUp()
        watch = try? DirectoryWatch()
        try startThread("volumes") { [self] in run() }
    }

    /// Copies a volume, and follows it until `remove`.
    func add(_ source: String, at target: String, owners: OwnerMap? = nil) throws(SystemError) {
        // Before the copy: no update is missed.
        let number = try? watch?.add(source)
        let copy = try VolumeCopy(of: source, at: target, owners: owners)
        state.withLock { $0.copies[target] = Followed(copy: copy, watch: number) }
        wakeUp.signal()
    }

    /// Follows a volume no more. The copy itself remains.
    func remove(_ target: String) {
        state.withLock { state in
            guard let removed = state.copies.removeValue(forKey: target), let number = removed.watch else { return }
            // Two copies of one directory have one number.
            if !state.copies.values.contains(where: { $0.watch == number }) { watch?.remove(number) }
        }
    }

    package func stop() {
        state.withLock { $0 = State(isStopped: true) }
        wakeUp.signal()
    }

    // MARK: The thread

    private static let lookPause = Duration.seconds(1)

    private func run() {
        var polled = PollSet<Void>()
        polled.add(wakeUp.descriptor, for: ())
        if let watch { polled.add(watch.descriptor, for: ()) }
        while true {
            switch update() {
            case .end: return
            case .event: polled.wait(nil)
            case .pause(let pause): polled.wait(pause)
            }
            wakeUp.drain()
            watch?.drain()
        }
    }

    private enum Next {
        case end, event
        case pause(Duration)
    }

    /// Brings all copies up to date.
    private func update() -> Next {
        var faults: [VolumeFault] = []
        defer { faults.forEach(report) }
        return state.withLock { state in
            guard !state.isStopped else { return .end }
            var pauses: [Duration] = []
            for target in state.copies.keys {
                // A copy that fails now is repeated after the next event; the guest has the former files until then.
                do throws(SystemError) {
                    try state.copies[target]?.copy.update()
                } catch {
                    // ENOENT: kubelet has made another update meanwhile, or removes the volume.
                    if error.code != ENOENT, let followed = state.copies[target], !followed.isReported {
                        state.copies[target]?.isReported = true
                        faults.append(VolumeFault(volume: followed.copy.source, effect: .staysOld, error: error))
                    }
                }
                state.copies[target]?.copy.removeOutdated()
                pauses += (state.copies[target]?.copy.outdated ?? []).map { $0.until - .now }
                if state.copies[target]?.watch == nil { pauses.append(Self.lookPause) }
            }
            return pauses.min().map { .pause($0) } ?? .event
        }
    }
}
