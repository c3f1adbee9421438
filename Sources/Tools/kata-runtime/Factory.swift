import ArgumentParser
import CommandLine
import Glibc

struct Factory: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Manages the VM template and the VM cache ([factory] enable_template, vm_cache_number).",
        subcommands: [Init.self, Destroy.self, Status.self])
    @ParentCommand var runtime: KataRuntime

    private var factory: VMFactory {
        get throws { try VMFactory(runtime.context.loadConfiguration()) }
    }

    struct Init: ChangingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Boots a VM and saves it as the VM template; with vm_cache_number, serves warm VMs until it ends."
        )
        @ParentCommand var parent: Factory
        var runtime: KataRuntime { parent.runtime }

        func run() throws {
            try parent.factory.initialize {
                print("vm factory initialized")
                fflush(nil)
            }
        }
    }

    struct Destroy: ChangingCommand {
        static let configuration = CommandConfiguration(
            abstract: "Removes the VM template; ends the VM cache server and its VMs.")
        @ParentCommand var parent: Factory
        var runtime: KataRuntime { parent.runtime }

        func run() throws {
            try parent.factory.destroy()
            print("vm factory destroyed")
        }
    }

    struct Status: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Prints whether VMs are cloned from the VM template, or why not, and lists the warm VMs.")
        @ParentCommand var parent: Factory

        func run() throws { for line in try parent.factory.status { print(line) } }
    }
}
