import Container
import LinuxKernel
import TestSupport
import Testing

@testable import Agent

@Suite("Reports of memory that has run out", .timeLimit(.minutes(5)))
struct OOMWatchTests {
    private let scratch = Scratch()

    private func cgroup(_ name: String, kills: Int) throws -> Cgroup {
        let cgroup = Cgroup(name, root: scratch.path)
        try Files.makeDirectory(cgroup.path)
        try set(kills, in: cgroup)
        return cgroup
    }

    private func set(_ kills: Int, in cgroup: Cgroup) throws {
        // Changes the file as the kernel does, without replacing it.
        try Files.write(cgroup.path + "/memory.events", "low 0\noom 9\noom_kill \(kills)\n")
    }

    @Test("a kill is reported once, in order, whether a caller waits already or asks later")
    func reports() async throws {
        let watch = try OOMWatch()
        let (a, b) = (try cgroup("a", kills: 3), try cgroup("b", kills: 0))
        watch.add("a", a)
        watch.add("b", b)
        async let first = watch.next()
        try set(4, in: a)
        #expect(await first == "a")
        try set(1, in: b)
        #expect(await watch.next() == "b")
        try set(5, in: a)
        #expect(await watch.next() == "a")
    }

    @Test("kills before the watch, other events and removed containers are not reported")
    func silence() async throws {
        let watch = try OOMWatch()
        let (a, b) = (try cgroup("a", kills: 3), try cgroup("b", kills: 0))
        watch.add("a", a)
        watch.add("b", b)
        try set(3, in: a)
        watch.remove("a")
        try set(9, in: a)
        try set(1, in: b)
        #expect(await watch.next() == "b")
    }

    @Test("a kernel without the memory controller has no reports and no errors")
    func noController() async throws {
        let watch = try OOMWatch()
        watch.add("none", Cgroup("none", root: scratch.path))
        let b = try cgroup("b", kills: 0)
        watch.add("b", b)
        try set(1, in: b)
        #expect(await watch.next() == "b")
    }
}
