import AgentAPI
import GuestSpec
import LinuxKernel
import OCISpec
import Sandbox
import ShimAPI
import SwiftProtobuf
import TestSupport
import Testing

@testable import Shim

@Suite("The shim's edges")
struct ShimTests {
    @Test("containerd's command line, with Go's forms of flags")
    func flags() throws {
        let flags = try ShimFlags(
            [
                "-namespace", "default", "--address=/run/c.sock", "-publish-binary", "/usr/bin/containerd", "-id", "c1",
                "-debug", "start",
            ])
        #expect(flags.namespace == "default" && flags.address == "/run/c.sock" && flags.id == "c1")
        #expect(flags.debug && flags.action == .start)
        #expect(try ShimFlags(["-v"]).action == .version)
        #expect(try ShimFlags(["-info"]).action == .info && ShimFlags(["features"]).action == .features)
        #expect(flags.usesCache)
        #expect(try !ShimFlags(["-id", "c1", "-no-vm-cache", "start"]).usesCache)
        #expect(try ShimFlags(["-id", "c1", "-sandbox", "s1", "delete"]).sandbox == "s1")
    }

    @Test("a Create with config.json among its options needs no file; one without reads the bundle's")
    func specOption() throws {
        let scratch = Scratch()
        var request = Containerd_Task_V2_CreateTaskRequest()
        request.bundle = scratch.path
        request.options = SpecOption.message(Spec.example.json())
        let spec = try SpecOption.spec(of: request)
        #expect(spec.hostname == "kata" && spec.root?.path == scratch.path + "/rootfs")
        #expect(try RuntimeOptions.configurationPath(request.options) == nil)
        request.options = .init()
        #expect(throws: SystemError.self) { try SpecOption.spec(of: request) }
        // A file that is too long for a message.
        #expect(SpecOption.message([UInt8](repeating: 0x20, count: 3 << 20)).typeURL.isEmpty)
    }

    @Test(
        "a wrong command line gives an error of one line",
        arguments: [["-id"], ["-fly", "x"], ["-id", "a", "dance"], ["-id", "a", "-sandbox", "../b", "delete"], []])
    func wrongFlags(arguments: [String]) { #expect(throws: UsageError.self) { try ShimFlags(arguments) } }

    @Test("a socket's name fits in sun_path and differs by manager, namespace and group")
    func socketNames() {
        let names = [("a", "b", "c"), ("a", "b", "d"), ("a", "c", "c"), ("b", "b", "c")].map {
            SocketAddress.path(containerd: $0.0, namespace: $0.1, group: $0.2)
        }
        #expect(Set(names).count == 4)
        #expect(names.allSatisfy { $0.utf8.count < 107 })
    }

    @Test("a configuration's path comes with the runtime options, by all of their names")
    func options() throws {
        var options = Runtimeoptions_V1_Options()
        options.configPath = "/etc/mine.toml"
        var any = Google_Protobuf_Any()
        any.value = try options.serializedBytes()
        for name in [
            "runtimeoptions.v1.Options", "cri.runtimeoptions.v1.Options",
            "type.googleapis.com/runtimeoptions.v1.Options",
        ] {
            any.typeURL = name
            #expect(try RuntimeOptions.configurationPath(any) == "/etc/mine.toml")
        }
        any.typeURL = "containerd.runc.v1.Options"
        #expect(try RuntimeOptions.configurationPath(any) == nil)
        any.typeURL = "runtimeoptions.v1.Options"
        any.value = .init([0xff])
        #expect(throws: (any Error).self) { try RuntimeOptions.configurationPath(any) }
    }

    // The bytes as they are on the wire: field and length before each value.
    private static let optionBytes = bytes(
        "0a 19", "runtimeoptions.v1.Options", "12 10", "12 0e", "/etc/mine.toml")
    private static let bootstrapBytes = bytes(
        "0a 02", "c1", "12 07", "default", "18 fc ff ff ff ff ff ff ff ff 01", "22 05", "2.3.0", "2a 0b",
        "/run/c.ttrp", "32 06", "/run/c", "3a 01", "/", "42 2f 0a 2d", optionBytes, "4a 07", "/run/s/")

    /// Pairs of hexadecimal digits are bytes, other texts are themselves.
    private static func bytes(_ parts: Any...) -> [UInt8] {
        parts.flatMap { part -> [UInt8] in
            if let bytes = part as? [UInt8] { return bytes }
            let text = part as? String ?? ""
            let pairs = text.split(separator: " ")
            let numbers = pairs.compactMap { $0.count == 2 ? UInt8($0, radix: 16) : nil }
            return numbers.count == pairs.count && text != "c1" ? numbers : Array(text.utf8)
        }
    }

    private let started = try! ShimFlags(["-namespace", "default", "-address", "/run/c", "-id", "c1", "start"])

    @Test("start takes what each age of containerd puts on its standard input")
    func startInput() throws {
        let old = try StartParameters([], flags: started)
        #expect(old.configurationPath == "" && old.socketDirectory == "/run/containerd/s")
        #expect(old.answer(path: "/s") == Array("unix:///s".utf8))

        let middle = try StartParameters(Self.optionBytes, flags: started)
        #expect(middle.configurationPath == "/etc/mine.toml")
        #expect(middle.answer(path: "/s") == Array("unix:///s".utf8))

        let new = try StartParameters(Self.bootstrapBytes, flags: started)
        #expect(new.configurationPath == "/etc/mine.toml" && new.socketDirectory == "/run/s/" && new.debug)
        #expect(new.answer(path: "/s") == Self.bytes("08 03", "12 09", "unix:///s", "1a 05", "ttrpc"))
    }

    @Test("options that could be read as bootstrap parameters are options: the identity decides")
    func ambiguity() throws {
        let other = try ShimFlags(["-namespace", "default", "-id", "c2", "start"])
        #expect(try StartParameters(Self.bootstrapBytes, flags: other).answersBootstrap == false)
        #expect(throws: UsageError.self) { try StartParameters([0xff, 0xff], flags: started) }
        #expect(throws: UsageError.self) {
            try StartParameters(
                Self.bytes("0a 02", "c1", "12 07", "default", "4a 03", "s/."), flags: started)
        }
    }

    @Test("a snapshotter's only mount is a disk when it names a device, or an image with the option loop")
    func rootDisks() {
        func disk(_ type: String, _ source: String, _ options: [String] = []) -> DiskImage? {
            var mount = Containerd_Types_Mount()
            (mount.type, mount.source, mount.options) = (type, source, options)
            #expect(RootFilesystem.disk([mount, mount]) == nil)
            return RootFilesystem.disk([mount])
        }
        let file = #filePath
        #expect(disk("ext4", file, ["loop", "ro"]) == DiskImage("ext4", file, ["ro"]))
        #expect(
            disk("ext4", file) == nil && disk("ext4", "/etc", ["loop"]) == nil && disk("ext4", "/none", ["loop"]) == nil
        )
        #expect(disk("overlay", "overlay", ["lowerdir=/a"]) == nil && disk("bind", file, ["rbind", "loop"]) == nil)
    }

    @Test("figures keep their units in both of containerd's forms")
    func metrics() {
        var stats = Grpc_StatsContainerResponse()
        stats.cgroupStats.cpuStats.cpuUsage.totalUsage = 5_000
        stats.cgroupStats.memoryStats.usage.usage = 42
        stats.cgroupStats.memoryStats.stats = ["inactive_file": 7]
        #expect(Metrics.unified(stats).cpu.usageUsec == 5)
        #expect(Metrics.unified(stats).memory.inactiveFile == 7)
        #expect(Metrics.legacy(stats).cpu.usage.total == 5_000)
        #expect(Metrics.legacy(stats).memory.usage.usage == 42)
    }

    @Test("every message of both forms is there, and version 1 has the totals that the kubelet reads")
    func completeMetrics() {
        var stats = Grpc_StatsContainerResponse()
        stats.cgroupStats.memoryStats.stats = ["anon": 5, "pgfault": 6, "pgmajfault": 7, "inactive_file": 8]
        let old = Metrics.legacy(stats)
        #expect(old.memory.totalRss == 5 && old.memory.totalPgFault == 6 && old.memory.totalPgMajFault == 7)
        #expect(old.memory.totalInactiveFile == 8)
        let new = Metrics.unified(stats)
        #expect(new.memory.anon == 5 && new.memory.pgfault == 6 && new.memory.pgmajfault == 7)
        // Some managers read each message without a look (CRI-O). Nothing is measured here.
        let (none, empty) = (messages(in: Metrics.legacy(.init())), messages(in: Metrics.unified(.init())))
        #expect(none.missing == [] && empty.missing == [])
        #expect(none.found.isSuperset(of: ["_cpu._usage", "_memory._kernel", "_memory._kernelTcp", "_memory._swap"]))
        #expect(empty.found.isSuperset(of: ["_pids", "_cpu", "_memory", "_memoryEvents", "_io"]))
        #expect(messages(in: Io_Containerd_Cgroups_V1_Metrics()).missing == ["_blkio", "_cpu", "_memory", "_pids"])
    }

    /// The messages that a message has in fields of its own, by their places: those that are there, and those that are
    /// not.
    private func messages(in value: Any, at place: String = "") -> (found: Set<String>, missing: [String]) {
        var (found, missing): (Set<String>, [String]) = ([], [])
        for field in Mirror(reflecting: value).children {
            guard let label = field.label, label.hasPrefix("_") else { continue }
            var (inner, name) = (field.value, place + (place.isEmpty ? "" : ".") + label)
            if label == "_storage" {
                name = place
            } else {
                let optional = Mirror(reflecting: inner)
                guard optional.displayStyle == .optional else { continue }
                guard let some = optional.children.first else {
                    missing.append(name)
                    continue
                }
                found.insert(name)
                inner = some.value
            }
            let below = messages(in: inner, at: name)
            found.formUnion(below.found)
            missing += below.missing
        }
        return (found, missing.sorted())
    }

    @Test("-info answers with the features, and with the options that it got")
    func info() throws {
        let options = Google_Protobuf_Any.with { $0.typeURL = "runtimeoptions.v1.Options" }
        let info = try Containerd_Types_RuntimeInfo(serializedBytes: ShimInfo.answer(options.serializedBytes()))
        #expect(info.name == "io.containerd.kata.v2" && !info.version.version.isEmpty && info.options == options)
        #expect(info.features.typeURL == "types.containerd.io/opencontainers/runtime-spec/1/features/Features")
        let features = String(decoding: info.features.value, as: UTF8.self)
        #expect(features.contains("\"rro\"") && features == String(decoding: Features.current.json(), as: UTF8.self))
        let bare = try Containerd_Types_RuntimeInfo(serializedBytes: ShimInfo.answer([]))
        #expect(!bare.hasOptions && bare.hasFeatures)
        #expect(throws: UsageError.self) { try ShimInfo.answer([0xff, 0xff]) }
    }

    @Test("whatever figures a guest reports, the managers' figures are made of them")
    func fuzzFigures() throws {
        var stats = Grpc_StatsContainerResponse()
        stats.cgroupStats.memoryStats.stats = ["anon": 1, "file": .max]
        stats.cgroupStats.memoryStats.usage.usage = .max
        stats.cgroupStats.cpuStats.cpuUsage.totalUsage = .max
        stats.cgroupStats.hugetlbStats = ["2MB": .with { $0.usage = 3 }]
        stats.cgroupStats.blkioStats.ioServicedRecursive = [
            .with { ($0.op, $0.major, $0.minor, $0.value) = ("Read", .max, .max, 9) }
        ]
        stats.networkStats = [.with { ($0.name, $0.rxBytes) = ("eth0", 7) }]
        for input in try Fuzz.inputs(
            "containers' figures", corpus: "ttrpc", more: [try stats.serializedBytes()], rounds: 2000)
        {
            guard let stats = try? Grpc_StatsContainerResponse(serializedBytes: input) else { continue }
            _ = try Metrics.unified(stats).serializedBytes() as [UInt8]
            _ = try Metrics.legacy(stats).serializedBytes() as [UInt8]
        }
    }
}
