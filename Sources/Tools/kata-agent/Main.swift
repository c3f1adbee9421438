import Agent
import AgentAPI
import Glibc
import LinuxKernel

/// The guest's agent.
@main
struct Main {
    static func main() {
        if let module = ModuleHelper.request(in: CommandLine.arguments) { exit(ModuleHelper.run(module)) }
        switch CommandLine.arguments.dropFirst().first {
        case nil: break
        case "--version": return print("kata-agent \(Version.current)")
        case let argument?:
            if getpid() != 1 {
                report("unknown argument \(argument); the agent takes none but --version")
                exit(2)
            }
        }
        do { try AgentServer.run() } catch {
            report("\(error)")
            exit(1)
        }
    }

    /// The guest's console is all that an agent without a channel has.
    static func report(_ text: String) {
        writeError("kata-agent: \(text)")
    }
}
