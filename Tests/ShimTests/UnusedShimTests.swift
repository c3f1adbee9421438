import EventLoop
import LinuxKernel
import NIOPosix
import Synchronization
import TestSupport
import Testing

@testable import Shim

@Suite("An unused shim", .timeLimit(.minutes(5)))
struct UnusedShimTests {
    private final class Record: Sendable {
        let ends = Atomic(0)
        let hasContainer = Atomic(false)
    }

    private let record = Record()

    private func shim() -> UnusedShim {
        UnusedShim(
            after: .milliseconds(20), on: MultiThreadedEventLoopGroup.singleton.next(),
            isUnused: { [record] in !record.hasContainer.load(ordering: .relaxed) },
            end: { [record] in _ = record.ends.add(1, ordering: .relaxed) })
    }

    @Test("ends when no container has come")
    func neverUsed() async throws {
        let shim = shim()
        try await eventually { record.ends.load(ordering: .relaxed) == 1 }
        _ = shim
    }

    @Test("lives as long as it has a container, and ends after it")
    func used() async throws {
        record.hasContainer.store(true, ordering: .relaxed)
        let shim = shim()
        try await Task.sleep(for: .milliseconds(60))
        #expect(record.ends.load(ordering: .relaxed) == 0)
        record.hasContainer.store(false, ordering: .relaxed)
        try await eventually { record.ends.load(ordering: .relaxed) == 1 }
        _ = shim
    }
}
