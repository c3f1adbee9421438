import ArgumentParser
import LinuxKernel
import OCISpec

struct FeaturesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "features", abstract: "Prints what this runtime can do, as JSON (OCI features.md).")

    func run() { print(String(decoding: Features.current.json(pretty: true), as: UTF8.self)) }
}
