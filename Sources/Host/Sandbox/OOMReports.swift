import AgentAPI
import EventLoop
import LinuxKernel
import Pod
import SandboxCgroups

/// Filters the agent's reports of containers in which the guest's kernel has killed for lack of memory.
///
/// Managers trust these reports: only those of the sandbox's own containers pass, at a bounded rate.
struct OOMReports: Sendable {
    /// The shortest time between two reports of a container.
    private static let reportPause = Duration.seconds(1) / GuestLimit.outOfMemory.value
    private var last: [String: ContinuousClock.Instant] = [:]
    /// Containers whose end has told it already.
    private var toldAtEnd: Set<String> = []

    enum Verdict: Equatable, Sendable {
        case passes
        case alreadyReported
        case refused(GuestLimit)
    }

    /// Judges the report that comes with a container's end: it passes where none came before.
    mutating func judgeEnd(of container: String, at now: ContinuousClock.Instant) -> Verdict {
        guard last[container] == nil else { return .alreadyReported }
        last[container] = now
        toldAtEnd.insert(container)
        return .passes
    }

    /// The file in which CRI-O looks for a container's lack of memory after its end (internal/oci/runtime_vm.go). Under
    /// the command line its monitor (conmon) writes the file itself.
    static func file(of request: ContainerRequest) -> String? {
        guard request.attachProcess == nil, PodRole.isOfCRIO(request.spec.annotations ?? [:]) else { return nil }
        return request.bundle + "/oom"
    }

    mutating func forget(_ container: String) {
        last[container] = nil
        toldAtEnd.remove(container)
    }

    mutating func judge(_ container: String, known: some Collection<String>, at now: ContinuousClock.Instant) -> Verdict
    {
        guard known.contains(container) else { return .refused(.unknownContainer) }
        last = last.filter { known.contains($0.key) }
        toldAtEnd.formIntersection(known)
        if toldAtEnd.remove(container) != nil { return .alreadyReported }
        if let before = last[container], now - before < Self.reportPause { return .refused(.outOfMemory) }
        last[container] = now
        return .passes
    }
}

extension Sandbox {
    /// Notes that the guest's kernel has killed in a container whose first process has ended.
    func outOfMemory(_ process: ContainerProcess, of container: ContainerKey) async {
        guard let record = present(container) else { return }
        if oomReports.judgeEnd(of: record.id, at: .now) == .passes { process.noteOutOfMemory() }
        writeOutOfMemoryFile(of: record)
        // Under the command line, managers watch the attach process's cgroup, which ends after this.
        guard let attached = record.attachProcess, binding.cgroups != nil else { return }
        do { try await blocking("oom") { try OutOfMemoryNotice.give(besides: attached) } } catch {
            log.warning(
                "managers are not told that the container ran out of memory",
                metadata: ["container": "\(container.id)", "error": "\(error)"])
        }
    }

    /// Tells CRI-O, which reads the file as soon as it hears of the end: call this before.
    func writeOutOfMemoryFile(of record: Container) {
        guard let path = record.outOfMemoryFile else { return }
        do { try Files.write(path, []) } catch {
            log.warning(
                "the manager is not told that the container ran out of memory",
                metadata: ["container": "\(record.id)", "error": "\(error)"])
        }
    }

    /// Bounds the shim's work for an agent that floods it.
    private static let refusedReportPause = Duration.milliseconds(100)

    /// Waits until the guest's kernel kills in a container for lack of memory.
    /// - Returns: the container's id.
    /// - Throws: `SandboxError` (`wrongState`) for a sandbox that is not ready. `RPCError` when the guest is gone.
    package func nextOutOfMemory() async throws -> String {
        while true {
            let container = try await agent().getOOMEvent(Grpc_GetOOMEventRequest(), timeout: nil).containerID
            switch oomReports.judge(container, known: containers.keys, at: .now) {
            case .passes:
                if let record = containers[container] { writeOutOfMemoryFile(of: record) }
                return container
            case .alreadyReported: continue
            case .refused(let limit): limits.reached(limit, container)
            }
            try await sleep(Self.refusedReportPause, on: loop)
        }
    }
}
