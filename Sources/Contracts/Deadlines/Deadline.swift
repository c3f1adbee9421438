/// How long one waits for another: every such time of host and guest is here, and in docs/reliability.md by the table that comes
/// from here.
package enum Deadline: CaseIterable, Sendable {
    // A machine
    case announcement, monitor, command, release, growth, saving, lastWords, loss, machineEnd
    // Its guest
    case setup, details, network, burst, onlining, silence, farewell, powerOff, console
    // A container
    case creation, start, signal, change, question, removal, output, quietOutput, unread, hook
    // Other processes of the host
    case event, shimInput, shimStart, shimCreate, shimProcess, shimAnswer, shimDelete, pod, view, standIn, forgotten,
        process, claim, remains, socket,
        names, tool
    case cacheRequest, cacheAnswer, cacheFarewell, cacheEnd
    case kernelBuild
    // In the guest
    case hotPlug, modules, stage, guestOutput, quietGuestOutput, guestHook, guestNames

    package struct Facts: Sendable {
        /// What is waited for.
        package let wait: String
        package let limit: Duration
        /// Kata's key of configuration.toml that sets it, or word of the guest kernel's command line; `limit` is its standard value.
        package let key: String?
        /// Who waits.
        package let owner: String
        /// What happens when the time is over.
        package let then: String

        fileprivate init(_ wait: String, _ limit: Duration, key: String? = nil, by owner: String, then: String) {
            (self.wait, self.limit, self.key, self.owner, self.then) = (wait, limit, key, owner, then)
        }
    }

    package var limit: Duration { facts.limit }
    /// Rounded down.
    package var seconds: Int { Int(limit.components.seconds) }

    package var facts: Facts {
        switch self {
        case .announcement:
            Facts(
                "the guest to announce itself", .seconds(45), key: "agent.kata.dial_timeout", by: "Sandbox.boot",
                then:
                    "the machine is ended; the error says how far it came, and why. At once when QEMU or virtiofsd ends"
            )
        case .monitor:
            Facts(
                "QEMU's monitor to answer first", .seconds(60), by: "QMPClient.connect",
                then: "as above; at once when QEMU ends")
        case .command:
            Facts("any command to QEMU's monitor", .seconds(5), by: "QMPClient.execute", then: "the call fails")
        case .release:
            Facts(
                "a device to be let go by the guest", .seconds(5), by: "QEMUVirtualMachine.remove",
                then: "the call fails")
        case .growth:
            Facts(
                "the guest to take or give memory", .seconds(3), by: "QEMUVirtualMachine.setMemory",
                then: "the machine stays as large as it is, with a line in the log")
        case .saving:
            Facts(
                "a machine's state to be saved, or read back", .seconds(30), by: "MachineTemplate",
                then: "`factory init` fails; a sandbox boots instead")
        case .lastWords:
            Facts(
                "what QEMU and the console wrote before QEMU's end", .milliseconds(200), by: "LogKeeper.settle",
                then: "it is told without")
        case .loss:
            Facts(
                "QEMU's end, where the channel has gone", .seconds(2), by: "Sandbox.explain",
                then: "the agent is told of as what has gone")
        case .machineEnd:
            Facts(
                "QEMU's end after SIGKILL", .seconds(5), by: "QEMUVirtualMachine.stop",
                then: "the sandbox is taken away without it")
        case .setup:
            Facts("CreateSandbox in the guest", .seconds(30), by: "Sandbox.boot", then: "the call fails")
        case .details:
            Facts(
                "clock, random numbers and facts of the guest", .seconds(10), by: "Sandbox.boot",
                then: "it goes on without; without random numbers of its own a clone fails")
        case .network:
            Facts("a link or its routes in the guest", .seconds(30), by: "SandboxNetwork", then: "the call fails")
        case .burst:
            Facts(
                "a further change of the host's links, which come in bursts", .milliseconds(50), by: "SandboxNetwork",
                then: "the guest is told of them")
        case .onlining:
            Facts(
                "processors to be put to use in the guest", .seconds(10), by: "Sandbox.fitMachine",
                then: "the call fails")
        case .silence:
            Facts(
                "the next answer of a guest that let the last call wait until its time was over", .seconds(1),
                by: "Sandbox.ask", then: "as for that call")
        case .farewell:
            Facts(
                "the guest to write everything and say so", .seconds(2), by: "Sandbox.stop", then: "QEMU is killed")
        case .powerOff:
            Facts(
                "a guest that refused to say so to power off", .seconds(1), by: "Sandbox.stop", then: "QEMU is killed")
        case .console:
            Facts(
                "the debug console: the word of who asks, and the guest's answer", .seconds(5), by: "DebugConsoleDoor",
                then: "the stream is closed")
        case .creation:
            Facts(
                "CreateContainer in the guest", .seconds(60), key: "runtime.create_container_timeout",
                by: "Sandbox.createContainer", then: "the container is taken away")
        case .start:
            Facts(
                "a start (beside its hooks' own limits) or an exec in the guest", .seconds(65), by: "Sandbox.start",
                then: "the call fails; its streams are given back")
        case .signal:
            Facts(
                "a signal to be delivered", .seconds(10), by: "Sandbox.signal",
                then: "SIGKILL ends the machine, others fail")
        case .change:
            Facts(
                "pause, resume, update, resize, and a container's figures", .seconds(10), by: "Sandbox",
                then: "the call fails")
        case .question:
            Facts("questions handed on to the agent", .seconds(30), by: "Sandbox.ask(agent:)", then: "the call fails")
        case .removal:
            Facts(
                "a container's removal in the guest", .seconds(15), by: "Sandbox.delete",
                then: "it is removed from the host alone")
        case .output:
            Facts(
                "what a process wrote before its end", .seconds(2), by: "Sandbox.ended",
                then: "the exit is told; the rest follows when it is read")
        case .quietOutput:
            Facts(
                "another byte of it, while children hold the stream open", .milliseconds(100), by: "Sandbox.ended",
                then: "the exit is told")
        case .unread:
            Facts(
                "a manager to read what a deleted process wrote", .seconds(10), by: "Sandbox.delete",
                then: "a stream of which it takes nothing is closed")
        case .hook:
            Facts(
                "a hook without a limit of its own", .seconds(60), by: "Hook.run",
                then: "it is killed; the lifecycle's step fails")
        case .event:
            Facts(
                "an event to be taken by containerd: of five attempts each, and all that is left at the end",
                .seconds(5), by: "EventPublisher",
                then: "it is dropped, with a line in the log")
        case .shimInput:
            Facts(
                "standard input of the shim's `start`", .seconds(2), by: "StartParameters", then: "there is none")
        case .shimStart:
            Facts("the shim to start", .seconds(30), by: "kata-runtime create", then: "it is killed")
        case .shimCreate:
            Facts(
                "the shim's answer to create, beside `dial_timeout` and `create_container_timeout`", .seconds(75),
                by: "kata-runtime create",
                then: "the container is taken away by its ledger, the shim first")
        case .shimProcess:
            Facts(
                "the shim's answer to a start or an exec", .seconds(120), by: "TaskClient", then: "the command fails")
        case .shimAnswer:
            Facts(
                "the shim's answer to a signal or a change, and its end", .seconds(15), by: "TaskClient",
                then: "`delete --force` takes the sandbox away by its ledger, the shim first; other commands fail")
        case .shimDelete:
            Facts(
                "the shim's answer to a question or a deletion", .seconds(30), by: "TaskClient", then: "as above")
        case .pod:
            Facts(
                "the end of a killed container whose sandbox has others", .seconds(10), by: "kata-runtime delete",
                then: "it is deleted all the same")
        case .view:
            Facts(
                "the process that stands for a container to take the container's files", .seconds(10),
                by: "kata-runtime create", then: "the container is taken away")
        case .forgotten:
            Facts(
                "a deletion of containers that have ended and whose bundles have gone", .seconds(5),
                by: "ContainerdTasks", then: "the sandbox ends")
        case .standIn:
            Facts(
                "the process that stands for a container to end with it, and once more after SIGKILL", .seconds(1),
                by: "kata-runtime delete", then: "it is killed; it is left to the host's kernel")
        case .claim:
            Facts(
                "another process that takes the same sandbox away", .seconds(5), by: "Ledger",
                then: "both do, as far as there is something left")
        case .remains:
            Facts(
                "what a dead shim left to be taken away", .seconds(3), by: "the shim's `delete`",
                then: "containerd gets its answer; who takes it away goes on")
        case .process:
            Facts(
                "a process of the sandbox to end after SIGKILL", .seconds(2), by: "Ledger",
                then: "the next entry is undone")
        case .socket:
            Facts(
                "a socket of the host to accept a container's connection", .seconds(10), by: "HostSocket",
                then: "the connection is refused")
        case .names:
            Facts(
                "a further question of a client of the host's resolver", .seconds(30), by: "NameResolver",
                then: "its socket is closed")
        case .tool:
            Facts(
                "a program that makes a part of an image, or a kernel's configuration", .seconds(600),
                by: "kata-osbuilder", then: "it is killed; the image is not made")
        case .cacheRequest:
            Facts(
                "a client of the VM cache server to say what it wants", .seconds(1), by: "CacheServer",
                then: "its connection is closed")
        case .cacheAnswer:
            Facts(
                "the VM cache server, a cached shim, or who takes one, to answer", .seconds(5), by: "MachineCache",
                then: "the sandbox boots its own machine, with a warning; the shim ends")
        case .cacheFarewell:
            Facts("a cached shim to end by itself", .seconds(3), by: "CacheServer", then: "it is killed")
        case .cacheEnd:
            Facts(
                "the VM cache server to end what waits", .seconds(20), by: "kata-runtime factory destroy",
                then: "it fails")
        case .kernelBuild:
            Facts("a kernel to be compiled", .seconds(4 * 3600), by: "kata-osbuilder kernel", then: "it is killed")
        case .hotPlug:
            Facts(
                "a disk, a link or a processor that was plugged in", .seconds(3), key: "agent.hotplug_timeout",
                by: "the agent", then: "the call fails, by its name")
        case .modules:
            Facts(
                "the kernel modules that containers may need", .seconds(10), by: "the agent", then: "it goes on without"
            )
        case .stage:
            Facts(
                "a process's first steps, up to its program", .seconds(60), by: "the agent",
                then: "it is killed; the call fails")
        case .guestOutput:
            Facts(
                "what an ended process wrote to leave the guest", .milliseconds(500), by: "the agent",
                then: "the exit is told; the rest follows")
        case .quietGuestOutput:
            Facts(
                "another byte of it", .milliseconds(50), by: "the agent", then: "the exit is told")
        case .guestHook:
            Facts(
                "a hook of the guest's image", .seconds(10), by: "the agent",
                then: "it is killed, with a line on the console")
        case .guestNames:
            Facts(
                "a further question of a client in the guest", .seconds(15), by: "the agent",
                then: "its stream is closed")
        }
    }
}

extension Deadline {
    /// The table of docs/reliability.md.
    package static var table: String {
        let rows = allCases.map(\.facts).map { facts in
            let time =
                facts.key.map { "`\($0)` (\(text(facts.limit)))" } ?? text(facts.limit)
            return "| \(facts.wait) | \(time) | \(facts.owner) | \(facts.then) |\n"
        }
        return "| wait | deadline | owner | then |\n|---|---|---|---|\n" + rows.joined()
    }

    private static func text(_ time: Duration) -> String {
        let milliseconds = Int(time / .milliseconds(1))
        if milliseconds % 3_600_000 == 0 { return "\(milliseconds / 3_600_000) h" }
        return milliseconds % 1000 == 0 ? "\(milliseconds / 1000) s" : "\(milliseconds) ms"
    }
}
