import AgentAPI
import Cleanup
import Glibc
import LinuxKernel
import Sandbox
import Shim

/// containerd's shim protocol (runtime v2): flags in Go's syntax, then an action.
@main
struct Main {
    static func main() {
        Ledger.registerKinds()
        do {
            let flags = try ShimFlags(Array(CommandLine.arguments.dropFirst()))
            switch flags.action {
            case .version:
                print(
                    "Kata Containers containerd shim (Swift): id: \"io.containerd.kata.v2\", version: \(Version.current)"
                )
            case .info: try FileDescriptor(owning: 1).writeAll(try ShimInfo.run(), to: "standard output")
            case .features: print(ShimInfo.featuresText)
            case .start:
                signal(SIGPIPE, SIG_IGN)
                let output = FileDescriptor(owning: 1)
                try ShimStart.run(flags) { try output.writeAll($0, to: "standard output") }
            case .delete: try ShimDelete.run(flags)
            case .serve: try ShimServer.run(flags)
            case .cached: try CachedShim.run(flags)
            }
        } catch {
            writeError("containerd-shim-kata-v2: \(error)")
            exit(1)
        }
    }
}
