import GuestSpec
import Testing

@testable import Sandbox

@Suite("Volumes in the guest's memory, and their users")
struct MemoryVolumesTests {
    private func memory(_ device: UInt64, isKept: Bool) -> GuestSpec.Memory {
        GuestSpec.Memory(device: device, source: "/none", options: ["size=\(device)k"], isKept: isKept)
    }

    @Test("a pod's volume is known while the pod lives, another one while a container uses it")
    func users() {
        var volumes = MemoryVolumes()
        let (kept, other) = (memory(1, isKept: true), memory(2, isKept: false))
        var (first, second): ([GuestSpec.Memory], [GuestSpec.Memory]) = ([], [])
        for memory in [kept, other] {
            volumes.use(memory, for: &first)
            volumes.use(memory, for: &second)
        }
        volumes.release(&first)
        #expect(first.isEmpty && volumes.known == [1: kept, 2: other])
        volumes.release(&first)
        volumes.release(&second)
        #expect(volumes.known == [1: kept])
    }
}
