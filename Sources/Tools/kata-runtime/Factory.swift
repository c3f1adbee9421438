import AgentAPI
import ArgumentParser
import Configuration
import EventLoop
import Hypervisor
import NIOCore
import Sandbox

/// Kata's words for what gets machines ready before they are wanted.
struct Factory: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Makes, removes or tells of the machine that others go on from ([factory] enable_template).",
        subcommands: [FactoryInit.self, FactoryDestroy.self, FactoryStatus.self])
    @ParentCommand var runtime: KataRuntime
}

extension GlobalOptions {
    /// The template that the configuration describes.
    fileprivate func template() throws -> MachineTemplate {
        let configuration = try Configuration.load(config)
        guard configuration.flag(Keys.enableTemplate) else {
            throw RuntimeError(
                "factory.enable_template is false in \(configuration.sources.first ?? "the configuration")")
        }
        try configuration.checkFiles()
        guard let template = try MachineTemplate(configuration, host: try .current(configuration)) else {
            throw RuntimeError("hypervisor.qemu.guest_channel: only vhost-user-vsock can be plugged into a clone")
        }
        return template
    }
}

struct FactoryInit: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init", abstract: "Boots a machine and saves it; one that was saved before is replaced.")
    @ParentCommand var factory: Factory

    func run() throws {
        let template = try factory.runtime.global.template()
        let limit = Duration.seconds(try Configuration.load(factory.runtime.global.config).number(Keys.dialTimeout))
        let loop = try makeEventLoop(descriptors: 64)
        let done = loop.makePromise(of: Void.self)
        Task(executorPreference: LoopExecutor(loop)) {
            do {
                try await template.make(version: Version.current, within: limit, on: loop)
                done.succeed()
            } catch { done.fail(error) }
        }
        try done.futureResult.wait()
        print("vm factory initialized")
    }
}

struct FactoryDestroy: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "destroy", abstract: "Removes the saved machine.")
    @ParentCommand var factory: Factory

    func run() throws {
        try factory.runtime.global.template().remove()
        print("vm factory destroyed")
    }
}

struct FactoryStatus: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Tells whether machines go on from a saved one, and else why not.")
    @ParentCommand var factory: Factory

    func run() throws {
        let template: MachineTemplate
        do { template = try factory.runtime.global.template() } catch let error as RuntimeError {
            print("vm factory is off: \(error)")
            return
        }
        print(template.obstacle(version: Version.current).map { "vm factory is off: \($0)" } ?? "vm factory is on")
    }
}
