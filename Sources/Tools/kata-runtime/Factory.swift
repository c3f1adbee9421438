import AgentAPI
import ArgumentParser
import Configuration
import EventLoop
import Glibc
import Hypervisor
import LinuxKernel
import NIOCore
import Sandbox
import Shim

/// Kata's words for what gets machines ready before they are wanted.
struct Factory: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Gets machines ready before they are wanted ([factory] enable_template, vm_cache_number).",
        subcommands: [FactoryInit.self, FactoryDestroy.self, FactoryStatus.self])
    @ParentCommand var runtime: KataRuntime
}

/// What the configuration says of machines that are made before they are wanted.
private struct FactoryPlan {
    let configuration: Configuration
    /// What others go on from; nil: they boot.
    let template: MachineTemplate?
    /// How many wait; 0: none.
    var cached: Int { configuration[Keys.cacheNumber] }
    var endpoint: String { configuration[Keys.cacheEndpoint] }
    /// Why there is nothing to be made; nil when there is.
    let obstacle: String?

    init(_ path: String?) throws {
        configuration = try Configuration.load(path)
        let isOn = configuration[Keys.enableTemplate]
        obstacle =
            isOn || configuration[Keys.cacheNumber] > 0
            ? nil
            : "factory.enable_template is false and factory.vm_cache_number 0 in \(configuration.sources.first ?? "the configuration")"
        guard isOn else {
            template = nil
            return
        }
        let files = try configuration.openFiles()
        template = MachineTemplate(configuration, host: try .current(configuration, booting: files))
        guard template != nil else {
            throw RuntimeError("hypervisor.qemu.guest_channel: only vhost-user-vsock can be plugged into a clone")
        }
    }
}

struct FactoryInit: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "init",
        abstract:
            "Boots a machine and saves it, in the place of one that was saved before; with vm_cache_number, serves cached machines until it is told to end."
    )
    @ParentCommand var factory: Factory

    func run() throws {
        let plan = try FactoryPlan(factory.runtime.global.config)
        if let obstacle = plan.obstacle { throw RuntimeError(obstacle) }
        // Before any thread is started.
        let stopSignal = try plan.cached > 0 ? EndSignals.ring() : nil
        if let template = plan.template {
            let limit = Duration.seconds(plan.configuration[Keys.dialTimeout])
            let loop = try makeEventLoop(descriptors: 64)
            try waiting(on: loop) { try await template.make(version: Version.current, within: limit, on: loop) }
        }
        guard let stopSignal else {
            print("vm factory initialized")
            return
        }
        let server = try CacheServer(
            plan.configuration, path: plan.configuration.sources.first, shim: try ShimProcess.executable(),
            stopSignal: stopSignal)
        try server.run {
            print("vm factory initialized")
            fflush(nil)
        }
    }
}

/// Signals that tell a server to end, as something that poll(2) waits for.
private enum EndSignals {
    /// - Returns: what is readable once one has come.
    static func ring() throws -> SharedDescriptor {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&set, signal) }
        pthread_sigmask(SIG_BLOCK, &set, nil)
        let pipe = try Pipe()
        let heard = SharedDescriptor(try pipe.readEnd.duplicate())
        let end = SharedDescriptor(try pipe.writeEnd.duplicate())
        try startThread("signals") { [set] in
            var (set, number) = (set, Int32(0))
            while sigwait(&set, &number) != 0 {}
            var byte: UInt8 = 1
            _ = write(end.raw, &byte, 1)
        }
        return heard
    }
}

struct FactoryDestroy: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "destroy", abstract: "Removes the saved machine; ends the server of cached machines, and those.")
    @ParentCommand var factory: Factory

    func run() throws {
        let plan = try FactoryPlan(factory.runtime.global.config)
        if let obstacle = plan.obstacle { throw RuntimeError(obstacle) }
        try plan.template?.remove()
        if plan.cached > 0 { try MachineCache.quit(at: plan.endpoint) }
        print("vm factory destroyed")
    }
}

struct FactoryStatus: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Tells whether machines go on from a saved one, and else why not; and which machines wait.")
    @ParentCommand var factory: Factory

    func run() throws {
        let plan = try FactoryPlan(factory.runtime.global.config)
        if let obstacle = plan.obstacle { print("vm factory is off: \(obstacle)") }
        if plan.cached > 0 {
            do {
                let (server, machines) = try MachineCache.status(at: plan.endpoint)
                print("VM cache server pid = \(server)")
                for machine in machines { print(machine.line) }
            } catch { print("vm cache is off: \(error)") }
        }
        guard let template = plan.template else { return }
        print(template.obstacle(version: Version.current).map { "vm factory is off: \($0)" } ?? "vm factory is on")
    }
}
