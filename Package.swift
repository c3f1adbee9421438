// swift-tools-version: 6.2
import PackageDescription

/// Every target lives under Sources/<storey>/<room>; a storey imports only from the storeys below it.
let swift6: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
]

/// Each use of an unsafe construct is marked `unsafe`, except in tests, in benchmarks and in generated code.
let strict = swift6 + [.strictMemorySafety()]

/// Rooms whose generated protobuf code uses unsafe constructs without the mark.
let generated: Set = ["AgentAPI", "ShimAPI"]

func room(
    _ name: String, in storey: String, _ dependencies: [Target.Dependency] = [], exclude: [String] = [],
    resources: [Resource]? = nil
) -> Target {
    .target(
        name: name, dependencies: dependencies, path: "Sources/\(storey)/\(name)", exclude: exclude,
        resources: resources, swiftSettings: generated.contains(name) ? swift6 : strict)
}

func tool(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(
        name: name, dependencies: dependencies, path: "Sources/Tools/\(name)", swiftSettings: strict)
}

func unitTests(_ room: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .testTarget(
        name: "\(room)Tests", dependencies: [.byName(name: room)] + dependencies, path: "Tests/\(room)Tests",
        swiftSettings: swift6)
}

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let log = Target.Dependency.product(name: "Logging", package: "swift-log")
let protobuf = Target.Dependency.product(name: "SwiftProtobuf", package: "swift-protobuf")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

let package = Package(
    name: "kata-containers",
    products: [
        .executable(name: "containerd-shim-kata-v2", targets: ["containerd-shim-kata-v2"]),
        .executable(name: "kata-runtime", targets: ["kata-runtime"]),
        .executable(name: "kata-agent", targets: ["kata-agent"]),
        .executable(name: "kata-osbuilder", targets: ["kata-osbuilder"]),
        .executable(name: "bench-peer", targets: ["bench-peer"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-protobuf", from: "1.39.0", traits: []),
    ],
    targets: [
        // Platform
        .target(name: "CLinux", path: "Sources/Platform/CLinux", cSettings: [.unsafeFlags(["-Wall", "-Werror"])]),
        .systemLibrary(
            name: "CSeccomp", path: "Sources/Platform/CSeccomp", pkgConfig: "libseccomp",
            providers: [.apt(["libseccomp-dev"])]),
        .systemLibrary(
            name: "CMessageDigest", path: "Sources/Platform/CMessageDigest", pkgConfig: "libmd",
            providers: [.apt(["libmd-dev"])]),
        room("LinuxKernel", in: "Platform", ["CLinux"]),
        room("Digest", in: "Platform", ["CMessageDigest", "LinuxKernel"]),
        room("Streams", in: "Platform", ["LinuxKernel"]),
        room("EventLoop", in: "Platform", ["LinuxKernel", "Streams", nioCore, nioPosix]),
        room("Cgroups", in: "Platform", ["LinuxKernel"]),
        room("Netlink", in: "Platform", ["CLinux", "LinuxKernel"]),
        room("VhostUser", in: "Platform", ["CLinux", "LinuxKernel"]),
        // Contracts
        room("OCISpec", in: "Contracts", ["LinuxKernel"]),
        room("TTRPC", in: "Contracts", ["EventLoop", "LinuxKernel", nioCore, nioPosix, protobuf]),
        room("AgentAPI", in: "Contracts", ["Netlink", "OCISpec", "TTRPC", protobuf]),
        room("ShimAPI", in: "Contracts", ["TTRPC", protobuf]),
        // Guest
        room("Container", in: "Guest", ["AgentAPI", "CLinux", "CSeccomp", "Cgroups", "LinuxKernel", "OCISpec"]),
        room("GuestNetwork", in: "Guest", ["Streams", "AgentAPI", "CLinux", "LinuxKernel", "Netlink", "TTRPC"]),
        room("GuestStorage", in: "Guest", ["Streams", "AgentAPI", "CLinux", "LinuxKernel", "Netlink", "TTRPC"]),
        room(
            "Agent", in: "Guest",
            [
                "Streams",
                "Container", "GuestNetwork", "GuestStorage", "AgentAPI", "OCISpec", "TTRPC", "EventLoop",
                "Netlink",
                "LinuxKernel", "CLinux", nioCore,
                nioPosix, protobuf,
            ]),
        // Host
        room("Configuration", in: "Host", ["Digest", "LinuxKernel"]),
        room("Hypervisor", in: "Host", ["LinuxKernel", "Streams", nioCore], exclude: ["QEMU"]),
        .target(
            name: "QEMU",
            dependencies: [
                "CLinux", "Configuration", "EventLoop", "Hypervisor", "LinuxKernel", "Streams", nioCore, nioPosix,
            ],
            path: "Sources/Host/Hypervisor/QEMU", swiftSettings: strict),
        room(
            "Snapshot", in: "Host",
            ["AgentAPI", "CLinux", "EventLoop", "Hypervisor", "LinuxKernel", "Streams", nioCore, protobuf]),
        room("Diagnosis", in: "Host", ["Hypervisor", "LinuxKernel"]),
        room("Storage", in: "Host", ["CLinux", "LinuxKernel"]),
        room("Cleanup", in: "Host", ["LinuxKernel"]),
        room("SandboxCgroups", in: "Host", ["Cgroups", "Cleanup", "LinuxKernel"]),
        room(
            "Channel", in: "Host",
            ["AgentAPI", "CLinux", "EventLoop", "LinuxKernel", "Streams", "VhostUser", log, nioCore]),
        room(
            "Network", in: "Host",
            [
                "AgentAPI", "Channel", "Cleanup", "Configuration", "EventLoop", "Hypervisor", "LinuxKernel", "Netlink",
                "OCISpec", "Pod", "Streams", "TTRPC", log, nioCore,
            ]),
        room("Stdio", in: "Host", ["Channel", "CLinux", "LinuxKernel"]),
        room(
            "SocketForward", in: "Host", ["AgentAPI", "Channel", "CLinux", "LinuxKernel", "OCISpec", "Streams"]),
        room("Pod", in: "Host", ["AgentAPI", "Configuration", "Hypervisor", "LinuxKernel", "OCISpec"]),
        room("GuestSpec", in: "Host", ["AgentAPI", "Cleanup", "LinuxKernel", "OCISpec", "Pod"]),
        room("Share", in: "Host", ["AgentAPI", "CLinux", "Cleanup", "Configuration", "GuestSpec", "LinuxKernel"]),
        room(
            "Images", in: "Host", ["CLinux", "Digest", "LinuxKernel"],
            resources: [
                .embedInCode("Kernel/guest.config"), .embedInCode("Kernel/patches/apic-timer.patch"),
                .embedInCode("Kernel/patches/keep-initmem.patch"),
                .embedInCode("Kernel/patches/known-branches.patch"),
            ]),
        room(
            "Sandbox", in: "Host",
            [
                "Channel", "Cgroups", "Cleanup", "Configuration", "Diagnosis", "GuestSpec", "Hypervisor", "Network",
                "Pod", "SandboxCgroups", "Share", "Snapshot", "SocketForward", "Stdio", "Storage", "Streams",
                "VhostUser", "AgentAPI", "OCISpec", "TTRPC", "EventLoop", "LinuxKernel", "CLinux", nioCore, log,
                protobuf,
            ]),
        room(
            "Shim", in: "Host",
            [
                "Sandbox", "Cleanup", "Configuration", "GuestSpec", "Hypervisor", "Network", "Pod", "QEMU", "Share",
                "Snapshot", "SocketForward", "Stdio", "ShimAPI", "AgentAPI", "TTRPC", "EventLoop", "OCISpec",
                "LinuxKernel", "CLinux", nioCore, nioPosix, log, protobuf,
            ]),
        room(
            "CommandLine", in: "Host",
            [
                "Shim", "Sandbox", "SandboxCgroups", "Channel", "Cleanup", "Configuration", "GuestSpec", "Hypervisor",
                "Network", "Pod", "Snapshot", "Stdio", "Streams", "AgentAPI", "OCISpec", "ShimAPI", "TTRPC",
                "EventLoop", "Netlink",
                "LinuxKernel", "CLinux", nioCore, protobuf,
            ]),
        // Tools
        tool("kata-agent", ["Agent", "AgentAPI", "LinuxKernel"]),
        tool("containerd-shim-kata-v2", ["Shim", "Sandbox", "Cleanup", "AgentAPI", "LinuxKernel"]),
        tool(
            "kata-runtime",
            [
                "Cleanup", "CommandLine", "Configuration", "Sandbox", "Shim", "AgentAPI", "OCISpec", "LinuxKernel",
                arguments,
            ]),
        tool("kata-osbuilder", ["Images", "LinuxKernel", arguments]),
        .executableTarget(name: "bench-peer", path: "Benchmarks/Peer", swiftSettings: swift6),
        // Unit tests
        .target(
            name: "TestSupport",
            dependencies: [
                "AgentAPI", "CLinux", "Cgroups", "Channel", "Configuration", "EventLoop", "GuestSpec", "Hypervisor",
                "Cleanup", "LinuxKernel", "Network", "OCISpec", "Pod", "Sandbox", "Share", "Stdio", "Streams", "TTRPC",
                "VhostUser", log, nioCore,
                nioPosix, protobuf,
            ],
            path: "Tests/TestSupport", swiftSettings: swift6),
        unitTests("LinuxKernel", ["Streams", "CLinux", "EventLoop", "TestSupport"]),
        unitTests("Streams", ["LinuxKernel", "TestSupport"]),
        unitTests("Netlink", ["LinuxKernel", "CLinux", "TestSupport"]),
        unitTests("GuestNetwork", ["AgentAPI", "LinuxKernel", "Netlink", "Streams", "TestSupport"]),
        unitTests("VhostUser", ["LinuxKernel", "CLinux", "TestSupport"]),
        unitTests("OCISpec", ["LinuxKernel", "TestSupport"]),
        unitTests("TTRPC", ["EventLoop", "AgentAPI", "LinuxKernel", "TestSupport", nioCore, nioPosix]),
        unitTests("AgentAPI", ["OCISpec", "TestSupport", protobuf]),
        unitTests("Container", ["OCISpec", "CLinux", "LinuxKernel", "TestSupport"]),
        unitTests(
            "Agent",
            [
                "AgentAPI", "CLinux", "Container", "EventLoop", "GuestStorage", "LinuxKernel", "OCISpec", "TTRPC",
                "TestSupport", nioCore, nioPosix, protobuf,
            ]),
        // The keys of all rooms are known to Shim.
        unitTests("Configuration", ["Digest", "LinuxKernel", "QEMU", "Share", "Shim", "TestSupport"]),
        unitTests("GuestStorage", ["AgentAPI", "LinuxKernel", "TTRPC", "TestSupport"]),
        unitTests("Hypervisor", ["LinuxKernel", "TestSupport"]),
        unitTests("QEMU", ["EventLoop", "Hypervisor", "LinuxKernel", "TestSupport", nioPosix]),
        unitTests("Snapshot", ["Hypervisor", "LinuxKernel", "QEMU"]),
        unitTests("Diagnosis", ["Hypervisor", "LinuxKernel", "QEMU", "TestSupport"]),
        unitTests("Channel", ["AgentAPI", "LinuxKernel", "VhostUser", nioPosix]),
        unitTests(
            "SocketForward",
            [
                "AgentAPI", "CLinux", "Channel", "GuestSpec", "Cleanup", "LinuxKernel", "Netlink", "OCISpec", "Streams",
                "TestSupport", log,
            ]),
        unitTests("Share", ["GuestSpec", "LinuxKernel", "TestSupport"]),
        unitTests("GuestSpec", ["AgentAPI", "Cleanup", "LinuxKernel", "OCISpec", "Pod"]),
        unitTests("Pod", ["Configuration", "Hypervisor", "OCISpec"]),
        unitTests(
            "Network",
            [
                "AgentAPI", "Channel", "Cleanup", "EventLoop", "GuestNetwork", "Hypervisor", "LinuxKernel", "Netlink",
                "OCISpec",
                "Streams", "TTRPC", "TestSupport", log, nioPosix, protobuf,
            ]),
        .testTarget(name: "HouseTests", path: "Tests/HouseTests", swiftSettings: strict),
        unitTests("Cgroups", ["Cleanup", "LinuxKernel", "SandboxCgroups", "TestSupport"]),
        unitTests("Storage", ["CLinux", "LinuxKernel", "TestSupport"]),
        unitTests("Cleanup", ["LinuxKernel", "Network", "SandboxCgroups", "TestSupport"]),
        unitTests("Images", ["LinuxKernel", "TestSupport"]),
        unitTests(
            "Sandbox",
            [
                "AgentAPI", "CLinux", "Channel", "Cgroups", "Cleanup", "Configuration", "EventLoop", "GuestSpec",
                "Hypervisor", "Network", "SandboxCgroups", "Streams", "OCISpec", "Pod", "QEMU", "Share", "Snapshot",
                "Stdio", "LinuxKernel", "TTRPC", "TestSupport", nioPosix,
                log,
            ]),
        unitTests(
            "Shim",
            [
                "AgentAPI", "Configuration", "EventLoop", "GuestSpec", "Cleanup", "Hypervisor", "LinuxKernel",
                "Network",
                "OCISpec", "Pod", "Sandbox",
                "ShimAPI", "Stdio", "TTRPC", "TestSupport", nioCore, nioPosix, log, protobuf,
            ]),
        .testTarget(
            name: "HostCommandLineTests",
            dependencies: ["CommandLine", "CLinux", "Configuration", "LinuxKernel", "OCISpec", "Pod", "TestSupport"],
            path: "Tests/HostCommandLineTests", swiftSettings: swift6),
        // Tests with real guests
        .testTarget(
            name: "VMTests",
            dependencies: [
                "TestSupport", "Network", "Sandbox", "Shim", "Cleanup", "AgentAPI", "ShimAPI", "TTRPC", "EventLoop",
                "Configuration",
                "Images",
                "OCISpec", "LinuxKernel",
                nioCore, nioPosix, protobuf, log,
            ],
            path: "Tests/VMTests",
            exclude: ["Pods/cri", "Pods/cri.proto", "Pods/pods.sh", "attack", "files", "crash-cell", "talk"],
            swiftSettings: swift6),
    ]
)

// Needs libFuzzer's run time, which only scripts/fuzz-guided links in.
if Context.environment["KATA_FUZZER"] != nil {
    package.targets.append(
        .executableTarget(
            name: "kata-fuzz",
            dependencies: ["AgentAPI", "LinuxKernel", "Shim", "TTRPC", "TestSupport", nioCore, protobuf],
            path: "Tests/Fuzz", swiftSettings: swift6,
            // gold fails on the instrumented objects.
            linkerSettings: [.unsafeFlags(["-use-ld=lld"])]))
}
