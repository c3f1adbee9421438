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
        room("Linux", in: "Platform", ["CLinux"]),
        room("Digest", in: "Platform", ["CMessageDigest", "Linux"]),
        room("EventLoop", in: "Platform", ["Linux", nioCore, nioPosix]),
        room("Netlink", in: "Platform", ["CLinux", "Linux"]),
        room("VhostUser", in: "Platform", ["CLinux", "Linux"]),
        // Contracts
        room("Deadlines", in: "Contracts"),
        room("OCISpec", in: "Contracts", ["Deadlines", "Linux"]),
        room("TTRPC", in: "Contracts", ["EventLoop", "Linux", nioCore, nioPosix, protobuf]),
        room("AgentAPI", in: "Contracts", ["Netlink", "OCISpec", "TTRPC", protobuf]),
        room("ShimAPI", in: "Contracts", ["TTRPC", protobuf]),
        // Guest
        room("Container", in: "Guest", ["CLinux", "CSeccomp", "Linux", "OCISpec"]),
        room("GuestNetwork", in: "Guest", ["AgentAPI", "CLinux", "Deadlines", "Linux", "Netlink", "TTRPC"]),
        room("GuestStorage", in: "Guest", ["AgentAPI", "CLinux", "Linux", "Netlink", "TTRPC"]),
        room(
            "Agent", in: "Guest",
            [
                "Container", "Deadlines", "GuestNetwork", "GuestStorage", "AgentAPI", "OCISpec", "TTRPC", "EventLoop",
                "Netlink",
                "Linux", "CLinux", nioCore,
                nioPosix, protobuf,
            ]),
        // Host
        room("Configuration", in: "Host", ["Deadlines", "Digest", "Linux"]),
        room("Hypervisor", in: "Host", ["Deadlines", "Linux", "CLinux", "EventLoop", nioCore, nioPosix]),
        room("Storage", in: "Host", ["CLinux", "Linux"]),
        room("Network", in: "Host", ["Deadlines", "Linux", "Netlink"]),
        room(
            "Images", in: "Host", ["CLinux", "Deadlines", "Digest", "Linux"],
            resources: [
                .embedInCode("Kernel/guest.config"), .embedInCode("Kernel/patches/apic-timer.patch"),
                .embedInCode("Kernel/patches/keep-initmem.patch"),
                .embedInCode("Kernel/patches/known-branches.patch"),
            ]),
        room("ControlGroups", in: "Host", ["Linux"]),
        room("Ledger", in: "Host", ["ControlGroups", "Deadlines", "Linux", "Network"]),
        room(
            "Sandbox", in: "Host",
            [
                "Configuration", "ControlGroups", "Deadlines", "Hypervisor", "Ledger", "Network", "Netlink", "Storage",
                "VhostUser",
                "AgentAPI",
                "OCISpec",
                "TTRPC", "EventLoop",
                "Linux", "CLinux", nioCore, log, protobuf,
            ]),
        room(
            "Shim", in: "Host",
            [
                "Sandbox", "Configuration", "Deadlines", "Hypervisor", "Ledger", "ShimAPI", "AgentAPI", "TTRPC",
                "EventLoop",
                "OCISpec",
                "Linux", "CLinux", nioCore, nioPosix, log, protobuf,
            ]),
        // Tools
        tool("kata-agent", ["Agent", "AgentAPI", "Linux"]),
        tool("containerd-shim-kata-v2", ["Shim", "AgentAPI", "Linux"]),
        tool(
            "kata-runtime",
            [
                "Shim", "Sandbox", "Deadlines", "Ledger", "Network", "Netlink", "AgentAPI", "ShimAPI", "TTRPC",
                "EventLoop",
                "Configuration", "OCISpec", "Linux", "CLinux", arguments, nioCore, nioPosix, protobuf,
            ]),
        tool("kata-osbuilder", ["Images", "Linux", arguments]),
        .executableTarget(name: "bench-peer", path: "Benchmarks/Peer", swiftSettings: strict),
        // Unit tests
        .target(
            name: "TestSupport", dependencies: ["AgentAPI", "CLinux", "Linux", "TTRPC", "VhostUser", protobuf],
            path: "Tests/TestSupport", swiftSettings: strict),
        unitTests("Linux", ["CLinux", "TestSupport"]),
        unitTests("Netlink", ["Linux", "CLinux", "TestSupport"]),
        unitTests("GuestNetwork", ["AgentAPI", "Linux", "Netlink", "TestSupport"]),
        unitTests("VhostUser", ["Linux", "CLinux", "TestSupport"]),
        unitTests("Deadlines", ["Linux"]),
        unitTests("OCISpec", ["Linux", "TestSupport"]),
        unitTests("TTRPC", ["EventLoop", "AgentAPI", "Linux", "TestSupport", nioCore, nioPosix]),
        unitTests("AgentAPI", ["OCISpec", "TestSupport", protobuf]),
        unitTests("Container", ["OCISpec", "CLinux", "Linux", "TestSupport"]),
        unitTests("Agent", ["GuestStorage", "OCISpec", "TestSupport"]),
        unitTests("Configuration", ["Digest", "Linux", "TestSupport"]),
        unitTests("GuestStorage", ["Linux"]),
        unitTests("Hypervisor", ["EventLoop", "Linux", "TestSupport", nioPosix]),
        unitTests("Network", ["Netlink", "Linux", "TestSupport"]),
        unitTests("ControlGroups", ["Linux", "TestSupport"]),
        unitTests("Storage", ["CLinux", "Linux", "TestSupport"]),
        unitTests("Ledger", ["Linux", "Network", "TestSupport"]),
        unitTests("Images", ["Linux", "TestSupport"]),
        unitTests(
            "Sandbox",
            [
                "AgentAPI", "CLinux", "Configuration", "ControlGroups", "EventLoop", "Hypervisor", "Ledger", "OCISpec",
                "Linux", "TTRPC", "TestSupport", nioPosix, log,
            ]),
        unitTests(
            "Shim",
            [
                "AgentAPI", "Configuration", "EventLoop", "Linux", "OCISpec", "Sandbox", "ShimAPI", "TTRPC",
                "TestSupport", nioPosix, log, protobuf,
            ]),
        // Tests with real guests
        .testTarget(
            name: "VMTests",
            dependencies: [
                "TestSupport", "Sandbox", "Ledger", "AgentAPI", "ShimAPI", "TTRPC", "EventLoop", "Configuration",
                "Images",
                "OCISpec", "Linux",
                nioCore, nioPosix, protobuf, log,
            ],
            path: "Tests/VMTests", exclude: ["attack", "crash-cell", "talk"], swiftSettings: strict),
    ]
)

// Needs libFuzzer's run time, which only scripts/fuzz-guided links in.
if Context.environment["KATA_FUZZER"] != nil {
    package.targets.append(
        .executableTarget(
            name: "kata-fuzz", dependencies: ["AgentAPI", "Linux", "Shim", "TTRPC", "TestSupport", nioCore, protobuf],
            path: "Tests/Fuzz", swiftSettings: strict,
            // gold fails on the instrumented objects.
            linkerSettings: [.unsafeFlags(["-use-ld=lld"])]))
}
