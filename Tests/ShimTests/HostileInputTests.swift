import AgentAPI
import LinuxKernel
import Logging
import OCISpec
import Pod
import Sandbox
import ShimAPI
import SwiftProtobuf
import Synchronization
import TTRPC
import TestSupport
import Testing

@testable import Shim

@Suite("Names, words and numbers that were chosen by an enemy")
struct HostileInputTests {
    static let wrong = [
        "", ".", "..", "../../x", "a/b", "/etc", ".cached-1-1", "-rf", "_x", "a\nb", "a\u{1b}[2J", "a b", "ü", "a\0b",
        String(repeating: "x", count: 77), String(repeating: "x", count: 200),
    ]

    @Test("a name that could be a part of another path is refused in one line", arguments: wrong)
    func identifiers(_ id: String) {
        let error = #expect(throws: IdentifierError.self) { try Identifier.check(id, "container id") }
        #expect(
            error?.description.hasPrefix("container id") == true
                || error?.description.hasPrefix("invalid container id") == true)
        #expect(error?.description.unicodeScalars.contains { $0.value < 0x20 } == false)
        #expect(throws: UsageError.self) { try ShimFlags(["-id", id, "start"]) }
        #expect(throws: UsageError.self) { try ShimFlags(["-id", id, "delete"]) }
    }

    @Test(
        "names of managers are names",
        arguments: ["a", "c1", String(repeating: "0123456789abcdef", count: 4), "my_pod-1.2+3"])
    func sound(_ id: String) throws {
        try Identifier.check(id, "container id")
        #expect(try ShimFlags(["-id", id, "start"]).id == id)
        #expect(try ShimFlags(["-id", ".cached-77-1", "-cached"]).id == ".cached-77-1")
        #expect(throws: UsageError.self) { try ShimFlags(["-id", ".cached-../x", "-cached"]) }
    }

    private func spec(_ annotations: [String: String]) -> Spec {
        var spec = Spec()
        spec.annotations = annotations
        return spec
    }

    @Test("an annotation names a sandbox, or is refused by its name")
    func sandboxes() throws {
        let kind = "io.kubernetes.cri.container-type"
        let name = "io.kubernetes.cri.sandbox-id"
        func sandbox(_ annotations: [String: String]) throws -> String {
            try SandboxMembership(annotationsOf: spec(annotations), id: "own").sandbox
        }
        #expect(try sandbox([kind: "container", name: "pod"]) == "pod")
        #expect(try sandbox([kind: "sandbox", name: "../.."]) == "own")
        #expect(try sandbox([name: "pod"]) == "own")
        for wrong in Self.wrong {
            let error = #expect(throws: SpecError.self) {
                try sandbox([kind: "container", name: wrong])
            }
            #expect(error?.description.hasPrefix("config.json: annotations (\(name)): ") == true)
        }
    }

    @Test("a container that names a sandbox which is no pod's is refused")
    func foreignSandboxes() {
        let container = spec(["io.kubernetes.cri.container-type": "container", "io.kubernetes.cri.sandbox-id": "other"])
        func refusal(_ spec: Spec, isPod: Bool, hasProcess: Bool = false) -> String? {
            SandboxMembership.refusal(of: spec, by: "other", isPod: isPod, hasProcess: hasProcess)
        }
        #expect(
            refusal(container, isPod: false)
                == "sandbox other, which the container's annotations name, is not a pod's: leave them out")
        #expect(refusal(container, isPod: true) == nil && refusal(container, isPod: false, hasProcess: true) == nil)
        #expect(refusal(spec([:]), isPod: false) == nil)
    }

    @Test("errors for managers are one line of a bounded length")
    func errors() async {
        let text = "QEMU said: \u{1b}[31m\nlevel=error\u{9b}" + String(repeating: "x", count: 100_000)
        for failure in [SandboxError(.guest, text), RPCError(.notFound, text)] as [any Error] {
            let error = await #expect(throws: RPCError.self) { try await mappingErrorsToRPC { throw failure } }
            #expect(error?.message.hasPrefix("QEMU said:  [31m level=error xxx") == true)
            #expect(error!.message.utf8.count < 9 << 10)
        }
        let id = await #expect(throws: RPCError.self) {
            try await mappingErrorsToRPC { try Identifier.check("..", "exec id") }
        }
        #expect(id?.code == .invalidArgument)
    }

    private final class Lines: Sendable {
        let all = Mutex<[String]>([])
    }

    private struct Collected: LogHandler {
        let lines: Lines
        var metadata: Logger.Metadata = [:]
        var logLevel = Logger.Level.info
        subscript(metadataKey key: String) -> Logger.Metadata.Value? {
            get { metadata[key] }
            set { metadata[key] = newValue }
        }
        func log(event: LogEvent) {
            lines.all.withLock { $0.append("\(event.message) \(event.metadata ?? [:]) \(metadata)") }
        }
    }

    @Test("a log line is one line, whatever its words are")
    func logs() {
        let lines = Lines()
        var log = Logger(label: "test") { _ in PrintableLog(Collected(lines: lines)) }
        log[metadataKey: "sandbox"] = "s\n1"
        log.warning(
            "a\nb", metadata: ["x": "\u{1b}[2J", "list": ["\r", ["k": "\u{9b}"]], "error": "\(RPCError(.ok, "e\n"))"])
        let line = lines.all.withLock { $0.first ?? "" }
        #expect(
            line.hasPrefix("a b ") && !line.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x9b }, "\(line)")
        #expect(line.contains("s 1"))
    }

    @Test("a log's copies have one level: debug lines that are turned on late are on everywhere")
    func level() {
        let lines = Lines()
        let log = Logger(label: "test") { _ in PrintableLog(Collected(lines: lines)) }
        log.debug("one")
        var copy = log
        copy[metadataKey: "sandbox"] = "s1"
        copy.logLevel = .debug
        log.debug("two")
        #expect(lines.all.withLock { $0.map { $0.prefix(3) } } == ["two"])
    }

    @Test("the largest numbers that a guest can report are reported")
    func figures() throws {
        var stats = Grpc_StatsContainerResponse()
        let usage = Grpc_MemoryData.with { ($0.usage, $0.maxUsage, $0.failcnt, $0.limit) = (.max, .max, .max, .max) }
        (stats.cgroupStats.memoryStats.usage, stats.cgroupStats.memoryStats.swapUsage) = (usage, usage)
        stats.cgroupStats.memoryStats.kernelUsage = usage
        stats.cgroupStats.memoryStats.cache = .max
        for name in ["anon", "file", "oom_kill", "inactive_file"] { stats.cgroupStats.memoryStats.stats[name] = .max }
        stats.cgroupStats.cpuStats.cpuUsage.totalUsage = .max
        stats.cgroupStats.cpuStats.cpuUsage.usageInUsermode = .max
        stats.cgroupStats.cpuStats.cpuUsage.usageInKernelmode = .max
        stats.cgroupStats.cpuStats.throttlingData.throttledTime = .max
        (stats.cgroupStats.pidsStats.current, stats.cgroupStats.pidsStats.limit) = (.max, .max)
        stats.cgroupStats.hugetlbStats = ["\u{1b}": .with { ($0.usage, $0.maxUsage, $0.failcnt) = (.max, .max, .max) }]
        let entry = Grpc_BlkioStatsEntry.with { ($0.op, $0.major, $0.minor, $0.value) = ("Read", .max, .max, .max) }
        stats.cgroupStats.blkioStats.ioServicedRecursive = [entry, entry]
        stats.cgroupStats.blkioStats.ioServiceBytesRecursive = [entry, entry]
        stats.networkStats = [.with { ($0.rxBytes, $0.txBytes, $0.rxPackets, $0.txDropped) = (.max, .max, .max, .max) }]
        #expect(Metrics.unified(stats).memory.usage == .max && Metrics.legacy(stats).memory.usage.usage == .max)
        _ = try Metrics.message(stats).serializedBytes() as [UInt8]
    }

    @Test("bytes that are no request to the VM cache server are ignored, whatever their nesting and numbers")
    func fuzzCacheRequests() throws {
        let taker = CacheTaker(
            version: "1", settings: "s", process: 7, mounts: .max, id: "c", namespace: "n", address: "/a",
            publishBinary: "/p", debug: true, socket: "/s", configuration: nil, publisher: "/t", killFirst: "0")
        let requests = [
            CacheRequest(wish: .take, taker: taker), CacheRequest(wish: .quit), CacheRequest(wish: .status),
        ]
        let ends = try SocketPair()
        let seeds = try requests.map { request in
            try ends.theirs.tell(request)
            return try ends.ours.receive(limit: CacheRequest.longest).bytes
        }
        let deep = [[UInt8](repeating: UInt8(ascii: "["), count: 60_000), Array("{\"wish\":".utf8)]
        for input in try Fuzz.inputs("VM cache requests", corpus: "ttrpc", more: seeds + deep, rounds: 2000) {
            _ = decodeMessage(CacheRequest.self, input)
            _ = decodeMessage(CacheTaker.self, input)
            _ = decodeMessage(CacheAnswer.self, input)
        }
    }
}
