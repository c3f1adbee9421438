import AgentAPI
import ArgumentParser
import Configuration
import Glibc
import LinuxKernel
import OCISpec
import Sandbox
import Shim
import ShimAPI

extension ContainerState {
    /// created, running, paused or stopped (runtime.md, "State").
    var status: String {
        guard let now = try? TaskClient.connect(address).state(id) else { return "stopped" }
        switch now.status {
        case .created: return "created"
        case .running: return "running"
        case .paused, .pausing: return "paused"
        default: return "stopped"
        }
    }
}

struct State: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Prints the state of a container.")
    @Argument(help: "The container's id.") var id: String
    @ParentCommand var runtime: KataRuntime

    private struct Report: Encodable {
        let ociVersion: String
        let id: String
        let status: String
        let pid: Int32
        let bundle: String
        let rootfs: String
        let created: String
        let annotations: [String: String]?
    }

    func run() throws {
        let state = try ContainerState.load(root: runtime.global.root, id: id)
        let status = state.status
        let report = Report(
            ociVersion: state.ociVersion, id: state.id, status: status, pid: status == "stopped" ? 0 : state.pid,
            bundle: state.bundle,
            rootfs: state.rootfs, created: state.created,
            annotations: state.annotations.isEmpty ? nil : state.annotations)
        print(String(decoding: report.json(pretty: true), as: UTF8.self))
    }
}

struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Lists the containers below --root.")
    @Option(name: .shortAndLong, help: "table or json.") var format = "table"
    @Flag(name: .shortAndLong, help: "Ids only.") var quiet = false
    @ParentCommand var runtime: KataRuntime

    private struct Row: Encodable {
        let ociVersion: String
        let id: String
        let pid: Int32
        let status: String
        let bundle: String
        let rootfs: String
        let created: String
        let owner: String
    }

    func run() throws {
        let rows = ContainerState.all(root: runtime.global.root).map { state in
            let status = quiet ? "" : state.status
            return Row(
                ociVersion: state.ociVersion, id: state.id, pid: status == "stopped" ? 0 : state.pid, status: status,
                bundle: state.bundle,
                rootfs: state.rootfs, created: state.created, owner: state.owner == 0 ? "root" : "#\(state.owner)")
        }
        if quiet {
            for row in rows { print(row.id) }
            return
        }
        switch format {
        case "json": print(String(decoding: rows.json(), as: UTF8.self))
        case "table":
            let lines =
                [["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]]
                + rows.map { [$0.id, "\($0.pid)", $0.status, $0.bundle, $0.created, $0.owner] }
            let widths = (0..<6).map { column in lines.map { $0[column].count }.max() ?? 0 }
            for line in lines {
                print(zip(line, widths).map { $0 + String(repeating: " ", count: $1 - $0.count + 2) }.joined())
            }
        default: throw RuntimeError("unknown format \"\(format)\": table or json")
        }
    }
}

struct SpecCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "spec", abstract: "Writes an example config.json into a bundle.")
    @Option(name: .shortAndLong, help: "The bundle's directory.") var bundle = "."

    func run() throws {
        let path = bundle + "/config.json"
        guard !Files.exists(path) else { throw RuntimeError("\(path) exists already; remove it first") }
        try Files.write(path, String(decoding: Spec.example.json(pretty: true), as: UTF8.self) + "\n", mode: 0o644)
    }
}

struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "version", abstract: "Prints the versions.")
    func run() { print(Version.report) }
}

struct Env: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "env", abstract: "Prints what will be used, as TOML.", aliases: ["kata-env"])
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        let configuration = try Configuration.load(runtime.global.config)
        let host = SandboxPlan.Host.withoutFiles(configuration)
        print("[Runtime]\n  Version = \"\(Version.current)\"\n  OCI = \"\(Spec.version)\"")
        print("  Config = \(Value.list(configuration.sources))\n")
        print("[Host]\n  VirtualCPUs = \(host.processors)\n  MemoryMiB = \(host.memoryMiB)")
        print(
            "  Accelerator = \"\(host.accelerator.accelerator.rawValue)\"\n  AcceleratorReason = \(Value.string(host.accelerator.reason))"
        )
        var table = ""
        for key in Keys.all {
            if key.table != table {
                table = key.table
                print("\n[\(table)]")
            }
            print("  \(key.name) = \(configuration.value(key))")
        }
    }
}
