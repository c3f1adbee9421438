// swift-tools-version: 6.2
import PackageDescription

/// Every target lives under Sources/<storey>/<room>; a storey imports only from the storeys below it.
let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
]

func room(
    _ name: String, in storey: String, _ dependencies: [Target.Dependency] = [], resources: [Resource]? = nil
) -> Target {
    .target(
        name: name, dependencies: dependencies, path: "Sources/\(storey)/\(name)", resources: resources,
        swiftSettings: strict)
}

func tool(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(name: name, dependencies: dependencies, path: "Sources/Tools/\(name)", swiftSettings: strict)
}

func unitTests(_ room: String, _ dependencies: [Target.Dependency] = []) -> Target {
    .testTarget(
        name: "\(room)Tests", dependencies: [.byName(name: room)] + dependencies, path: "Tests/\(room)Tests",
        swiftSettings: strict)
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
        room("Container", in: "Guest", ["CLinux", "CSeccomp", "LinuxKernel", "OCISpec"]),
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
        room("Hypervisor", in: "Host", ["Streams", "LinuxKernel", "CLinux", "EventLoop", nioCore, nioPosix]),
        room("Storage", in: "Host", ["CLinux", "LinuxKernel"]),
        room("Network", in: "Host", ["Streams", "Cleanup", "LinuxKernel", "Netlink"]),
        room(
            "Images", in: "Host", ["CLinux", "Digest", "LinuxKernel"],
            resources: [
                .embedInCode("Kernel/guest.config"), .embedInCode("Kernel/patches/apic-timer.patch"),
                .embedInCode("Kernel/patches/keep-initmem.patch"),
                .embedInCode("Kernel/patches/known-branches.patch"),
            ]),
        room("SandboxCgroups", in: "Host", ["Cgroups", "Cleanup", "LinuxKernel"]),
        room("Cleanup", in: "Host", ["LinuxKernel"]),
        room(
            "Sandbox", in: "Host",
            [
                "Streams",
                "Configuration", "Cgroups", "SandboxCgroups", "Hypervisor", "Cleanup", "Network", "Netlink", "Storage",
                "VhostUser",
                "AgentAPI",
                "OCISpec",
                "TTRPC", "EventLoop",
                "LinuxKernel", "CLinux", nioCore, log, protobuf,
            ]),
        room(
            "Shim", in: "Host",
            [
                "Sandbox", "Configuration", "Hypervisor", "Cleanup", "ShimAPI", "AgentAPI", "TTRPC",
                "EventLoop",
                "OCISpec",
                "LinuxKernel", "CLinux", nioCore, nioPosix, log, protobuf,
            ]),
        // Tools
        tool("kata-agent", ["Agent", "AgentAPI", "LinuxKernel"]),
        tool("containerd-shim-kata-v2", ["Shim", "Sandbox", "Cleanup", "AgentAPI", "LinuxKernel"]),
        tool(
            "kata-runtime",
            [
                "Streams",
                "Shim", "Sandbox", "Cleanup", "Network", "Netlink", "AgentAPI", "ShimAPI", "TTRPC",
                "EventLoop",
                "Configuration", "OCISpec", "LinuxKernel", "CLinux", arguments, nioCore, nioPosix, protobuf,
            ]),
        tool("kata-osbuilder", ["Images", "LinuxKernel", arguments]),
        .executableTarget(name: "bench-peer", path: "Benchmarks/Peer", swiftSettings: strict),
        // Unit tests
        .target(
            name: "TestSupport", dependencies: ["AgentAPI", "CLinux", "LinuxKernel", "TTRPC", "VhostUser", protobuf],
            path: "Tests/TestSupport", swiftSettings: strict),
        unitTests("LinuxKernel", ["Streams", "CLinux", "TestSupport"]),
        unitTests("Streams", ["LinuxKernel", "TestSupport"]),
        unitTests("Netlink", ["LinuxKernel", "CLinux", "TestSupport"]),
        unitTests("GuestNetwork", ["AgentAPI", "LinuxKernel", "Netlink", "TestSupport"]),
        unitTests("VhostUser", ["LinuxKernel", "CLinux", "TestSupport"]),
        unitTests("OCISpec", ["LinuxKernel", "TestSupport"]),
        unitTests("TTRPC", ["EventLoop", "AgentAPI", "LinuxKernel", "TestSupport", nioCore, nioPosix]),
        unitTests("AgentAPI", ["OCISpec", "TestSupport", protobuf]),
        unitTests("Container", ["OCISpec", "CLinux", "LinuxKernel", "TestSupport"]),
        unitTests("Agent", ["GuestStorage", "OCISpec", "TestSupport"]),
        unitTests("Configuration", ["Digest", "LinuxKernel", "TestSupport"]),
        unitTests("GuestStorage", ["LinuxKernel"]),
        unitTests("Hypervisor", ["EventLoop", "LinuxKernel", "TestSupport", nioPosix]),
        unitTests("Network", ["Netlink", "LinuxKernel", "TestSupport"]),
        unitTests("Cgroups", ["LinuxKernel", "SandboxCgroups", "TestSupport"]),
        unitTests("Storage", ["CLinux", "LinuxKernel", "TestSupport"]),
        unitTests("Cleanup", ["LinuxKernel", "Network", "SandboxCgroups", "TestSupport"]),
        unitTests("Images", ["LinuxKernel", "TestSupport"]),
        unitTests(
            "Sandbox",
            [
                "Streams",
                "AgentAPI", "CLinux", "Configuration", "Cgroups", "SandboxCgroups", "EventLoop", "Hypervisor",
                "Cleanup",
                "OCISpec",
                "LinuxKernel", "TTRPC", "TestSupport", nioPosix, log,
            ]),
        unitTests(
            "Shim",
            [
                "AgentAPI", "Configuration", "EventLoop", "LinuxKernel", "OCISpec", "Sandbox", "ShimAPI", "TTRPC",
                "TestSupport", nioPosix, log, protobuf,
            ]),
        // Tests with real guests
        .testTarget(
            name: "VMTests",
            dependencies: [
                "TestSupport", "Sandbox", "Cleanup", "AgentAPI", "ShimAPI", "TTRPC", "EventLoop", "Configuration",
                "Images",
                "OCISpec", "LinuxKernel",
                nioCore, nioPosix, protobuf, log,
            ],
            path: "Tests/VMTests", exclude: ["attack", "crash-cell", "talk"], swiftSettings: strict),
    ]
)

// Needs libFuzzer's run time, which only scripts/fuzz-guided links in.
if Context.environment["KATA_FUZZER"] != nil {
    package.targets.append(
        .executableTarget(
            name: "kata-fuzz",
            dependencies: ["AgentAPI", "LinuxKernel", "Shim", "TTRPC", "TestSupport", nioCore, protobuf],
            path: "Tests/Fuzz", swiftSettings: strict,
            // gold fails on the instrumented objects.
            linkerSettings: [.unsafeFlags(["-use-ld=lld"])]))
}
