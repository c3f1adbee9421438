import AgentAPI
import ArgumentParser
import CommandLine
import LinuxKernel
import OCISpec

struct State: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Prints the state of a container.")
    @Argument(help: "The container's id.") var id: String
    @ParentCommand var runtime: KataRuntime

    func run() throws { print(try runtime.context.state(id).json) }
}

struct List: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Lists the containers below --root.")
    @Option(name: .shortAndLong, help: "table or json.") var format = "table"
    @Flag(name: .shortAndLong, help: "Print ids only.") var quiet = false
    @ParentCommand var runtime: KataRuntime

    func run() throws {
        let root = runtime.context.root
        if quiet {
            for state in ContainerState.all(root: root) { print(state.id) }
            return
        }
        switch format {
        case "json": print(ContainerList(root: root).json)
        case "table": print(ContainerList(root: root).table)
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

struct FeaturesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "features", abstract: "Prints the features of this runtime as JSON (OCI features.md).")

    func run() { print(String(decoding: Features.current.json(pretty: true), as: UTF8.self)) }
}

struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "version", abstract: "Prints the versions.")
    func run() { print(Version.report) }
}

struct Env: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "env", abstract: "Prints the versions, the host and all settings, as TOML.",
        aliases: ["kata-env"])
    @ParentCommand var runtime: KataRuntime

    func run() throws { print(EnvironmentReport.text(try runtime.context.loadConfiguration())) }
}
