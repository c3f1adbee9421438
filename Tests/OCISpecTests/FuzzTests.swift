import TestSupport
import Testing

@testable import OCISpec

/// Broken documents, 10,000 in `make test`: none crashes the reader or takes it long.
@Suite("Broken documents")
struct FuzzTests {
    private static let configuration = Array(
        #"""
        {"ociVersion":"1.2.0","root":{"path":"r"},"hostname":"h","mounts":[{"destination":"/d","type":"bind","source":"/s",
        "options":["ro"],"uidMappings":[]}],"hooks":{"prestart":[{"path":"/h","timeout":3}]},"linux":{"namespaces":[{"type":"user"},
        {"type":"uts"},{"type":"time"}],"uidMappings":[{"containerID":0,"hostID":1,"size":4294967295}],"timeOffsets":{"boottime":{"secs":-5}},
        "sysctl":{"a.b":"1"},"devices":[{"type":"c","path":"/dev/x","major":1,"minor":3}],"resources":{"cpu":{"cpus":"0-3"},
        "memory":{"limit":-1},"hugepageLimits":[{"pageSize":"2MB","limit":9}],"blockIO":{"weight":10},"devices":[{"allow":true}]},
        "seccomp":{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":1,"architectures":["SCMP_ARCH_X86"],"syscalls":[
        {"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":18446744073709551615,"op":"SCMP_CMP_EQ"}]}]}}}
        """#.utf8)
    private static let process = Array(
        #"""
        {"terminal":true,"consoleSize":{"height":2,"width":5},"user":{"uid":0,"gid":0,"umask":18,"additionalGids":[1]},"cwd":"/",
        "args":["a"],"env":["A=b"],"capabilities":{"bounding":["CAP_KILL"]},"rlimits":[{"type":"RLIMIT_CORE","hard":1,"soft":1}],
        "scheduler":{"policy":"SCHED_FIFO","priority":3},"ioPriority":{"class":"IOPRIO_CLASS_BE","priority":2},
        "execCPUAffinity":{"initial":"0-3,7"},"oomScoreAdj":-5}
        """#.utf8)
    /// Values of a wrong type, or broken text, to put in place of others.
    private static let strangers = [
        "null", "-1", "1e999", "18446744073709551616", "0.5", "[]", "{}", "[[[]]]", #""\u0000""#, #""\ud800""#, "tru",
        "\"",
        "99999999999", ",", ":",
    ].map { Array($0.utf8) }

    /// A third of the documents are hit hard, most have one wound: those get furthest.
    private func wound(_ document: [UInt8], _ round: Int, _ random: inout Seeded) -> [UInt8] {
        var bytes = document
        for _ in 0..<(round % 3 == 0 ? Int.random(in: 2...20, using: &random) : 1) where !bytes.isEmpty {
            let index = Int.random(in: 0..<bytes.count, using: &random)
            switch Int.random(in: 0..<6, using: &random) {
            case 0: bytes[index] = UInt8.random(in: 0...255, using: &random)
            case 1: bytes.remove(at: index)
            case 2: bytes.insert(contentsOf: Self.strangers.randomElement(using: &random)!, at: index)
            case 3, 4:
                // A value for a value: from one colon or comma to the next.
                let end = bytes[index...].firstIndex { [0x2c, 0x7d, 0x5d].contains($0) } ?? bytes.count
                let start = bytes[..<index].lastIndex { [0x3a, 0x2c, 0x5b].contains($0) } ?? index
                bytes.replaceSubrange(min(start + 1, end)..<end, with: Self.strangers.randomElement(using: &random)!)
            default: bytes.removeSubrange(index...)
            }
        }
        return bytes
    }

    @Test("6,000 of them as config.json", arguments: 0..<4)
    func fuzzConfigurations(part: Int) throws {
        var random = Seeded(UInt64(part))
        var sound = 0
        let rounds = Fuzz.rounds(1500, of: "config.json, process.json")
        for round in 0..<rounds {
            let bytes = wound(Self.configuration, round, &random)
            guard let spec = try? Spec.decode(json: bytes, source: "fuzz") else { continue }
            try? spec.validate(source: "fuzz")
            sound += 1
        }
        // Enough get past the decoder to reach the rules.
        #expect(sound > rounds / 20)
    }

    @Test("4,000 of them as process.json", arguments: 0..<2)
    func fuzzProcesses(part: Int) throws {
        var random = Seeded(UInt64(100 + part))
        var sound = 0
        let rounds = Fuzz.rounds(2000, of: "config.json, process.json")
        for round in 0..<rounds {
            let bytes = wound(Self.process, round, &random)
            guard let process = try? Process.decode(json: bytes, source: "fuzz") else { continue }
            try? process.validate(source: "fuzz")
            sound += 1
        }
        #expect(sound > rounds / 20)
    }

    @Test("documents that are deep, long, or full of numbers are answered at once")
    func shapes() {
        let deep = String(repeating: "[", count: 20_000)
        let nested = #"{"ociVersion":"# + String(repeating: #"{"a":"#, count: 10_000)
        let numbers = #"{"ociVersion":"1.2.0","x":["# + String(repeating: "1,", count: 10_000) + #"1],"hostname":-5}"#
        let misfits =
            #"{"ociVersion":"1.2.0","process":{"cwd":"/","user":{"uid":0,"gid":0,"additionalGids":["#
            + String(repeating: "-1,", count: 5000) + "-1]}}}"
        let hidden =
            #"{"ociVersion":"1.2.0","process":{"cwd":"/","user":{"uid":0,"gid":0,"additionalGids":["#
            + String(repeating: "1,", count: 990) + #"-1]}},"x":["# + String(repeating: "1,", count: 10_000) + "1]}"
        for document in [hidden, deep, nested, numbers, misfits, "", "\0", "\u{feff}{}", "[]", "1", "null"] {
            let begin = ContinuousClock.now
            #expect(throws: SpecError.self) { try Spec.decode(json: Array(document.utf8), source: "fuzz") }
            #expect(ContinuousClock.now - begin < .seconds(30))
        }
    }
}
