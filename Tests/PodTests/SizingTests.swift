import Configuration
import Hypervisor
import Testing

@testable import OCISpec
@testable import Pod

@Suite("The machine's size")
struct SizingTests {
    private let host = HostFacts(processors: 4, memoryMiB: 8000, kilohertz: 0)

    private func sizing(_ toml: String = "") throws -> Sizing {
        var configuration = Configuration()
        try configuration.merge(text: "[hypervisor.qemu]\ndefault_memory = 512\n" + toml, file: "c.toml")
        return Sizing(configuration, host: host)
    }

    private func limits(_ json: String) throws -> OCISpec.Linux.Resources {
        try OCISpec.Linux.Resources.decode(json: Array(json.utf8), source: "resources")
    }

    @Test("limits come on top of what the guest has anyway, and are summed over containers")
    func sum() throws {
        let demands = [
            Demand(try limits(#"{"memory": {"limit": 67108864}, "cpu": {"quota": 50000, "period": 100000}}"#)),
            Demand(try limits(#"{"memory": {"limit": 1048577}, "cpu": {"quota": 60000}}"#)),
            Demand(nil),
        ]
        #expect(try sizing().size(for: demands) == MachineSize(memoryMiB: 512 + 66, vcpus: 3))
        #expect(try sizing().size(for: []) == MachineSize(memoryMiB: 512, vcpus: 1))
        #expect(try sizing("default_vcpus = 1.5\n").size(for: demands).vcpus == 3)
    }

    @Test("a pod's own limits bound the sum of its containers', and follow their changes")
    func pod() throws {
        let prefix = "io.kubernetes.cri.sandbox-"
        var pod = PodLimits(
            annotations: [
                prefix + "memory": "\(512 << 20)", prefix + "cpu-quota": "150000", prefix + "cpu-period": "100000",
            ])
        let demands = [512, 512, 64].map { Demand(memory: $0 << 20, processors: 1) }
        #expect(try sizing().size(for: demands, in: pod) == MachineSize(memoryMiB: 1024, vcpus: 3))
        #expect(try sizing().size(for: demands, in: pod, ceilingMiB: 700).memoryMiB == 700)
        pod.follow(demands[2], to: Demand(memory: 164 << 20, processors: 1))
        #expect(try sizing().size(for: demands, in: pod).memoryMiB == 1124)
        #expect(PodLimits(annotations: [prefix + "cpu-quota": "-1", prefix + "cpu-shares": "9"]) == PodLimits())
        pod.follow(Demand(), to: Demand(memory: .max))
        #expect(pod.memory == nil)
    }

    @Test("huge pages are memory of the machine beside the limit")
    func hugePages() throws {
        let limits = try limits(
            #"{"memory": {"limit": 67108864}, "hugepageLimits": [{"pageSize": "2MB", "limit": 134217728}, {"pageSize": "1GB", "limit": 0}]}"#
        )
        #expect(try sizing().size(for: [Demand(limits)]).memoryMiB == 512 + 64 + 128)
        #expect(try sizing().size(for: [Demand(limits)], in: PodLimits(memory: 32 << 20)).memoryMiB == 512 + 32 + 128)
    }

    @Test("three hundred processors are bounded by the host's, and a part of one counts with the containers' parts")
    func bounded() throws {
        #expect(try sizing("default_vcpus = 300\n").size(for: []).vcpus == 4)
        #expect(try sizing("default_maxvcpus = 300\n").size(for: [Demand(processors: 300)]).vcpus == 4)
        let large = Sizing(Configuration(), host: HostFacts(processors: 512, memoryMiB: 8000, kilohertz: 0))
        #expect(large.maximum.vcpus == 240 && large.size(for: [Demand(processors: 300)]).vcpus == 240)
        #expect(try sizing("default_vcpus = 0.5\n").size(for: [Demand(processors: 1.5)]).vcpus == 2)
        #expect(try sizing("default_vcpus = 0.25\n").size(for: []).vcpus == 1)
    }

    @Test("never more than the host has; a limit above that asks for nothing")
    func most() throws {
        let much = [Demand(memory: 1 << 62, processors: 64), Demand(memory: 7000 << 20)]
        #expect(try sizing().size(for: much) == MachineSize(memoryMiB: 7512, vcpus: 4))
        #expect(
            try sizing("default_maxmemory = 600\ndefault_maxvcpus = 2\n").size(
                for: [Demand(memory: 500 << 20, processors: 3)])
                == MachineSize(memoryMiB: 600, vcpus: 2))
    }

    @Test(
        "sets of processors count where no quota does",
        arguments: [("0-1,3", 3), ("2", 1), ("", 0), ("x", 0), ("3-1", 0)])
    func sets(_ list: String, _ count: Int) throws {
        let set = Demand(try limits(#"{"cpu": {"cpus": "\#(list)"}}"#))
        #expect(set.processorSet.count == count)
        #expect(try sizing().size(for: [set]).vcpus == min(4, 1 + count))
        #expect(try sizing().size(for: [set, Demand(processors: 0.5)]).vcpus == 2)
    }

    @Test("a pod's annotations tell what all its containers will ask for")
    func annotations() {
        let prefix = "io.kubernetes.cri.sandbox-"
        let quota = [prefix + "memory": "1048576", prefix + "cpu-quota": "150000", prefix + "cpu-period": "100000"]
        #expect(Demand(annotations: quota) == Demand(memory: 1_048_576, processors: 1.5))
        #expect(
            Demand(annotations: [prefix + "cpu-quota": "-1", prefix + "cpu-shares": "1025"]) == Demand(processors: 2))
        #expect(Demand(annotations: [prefix + "memory": "much", prefix + "cpu-quota": "0"]) == Demand())
    }

    @Test("an update changes what it mentions")
    func update() throws {
        let before = Demand(memory: 100, processors: 2, processorSet: [5])
        let halved = before.updated(by: try limits(#"{"cpu": {"period": 200000}}"#))
        #expect(halved.processors == 1)
        #expect(halved.updated(by: try limits(#"{"cpu": {"quota": 100000}}"#)).processors == 0.5)
        #expect(
            before.updated(by: try limits(#"{"memory": {"limit": 200}}"#))
                == Demand(memory: 200, processors: 2, processorSet: [5]))
        #expect(
            before.updated(by: try limits(#"{"memory": {"limit": -1}, "cpu": {"quota": -1}}"#))
                == Demand(processorSet: [5]))
        #expect(before.updated(by: try limits("{}")) == before)
    }
}
