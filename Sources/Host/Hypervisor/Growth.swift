import EventLoop
import LinuxKernel
import Synchronization

/// Memory and processors of a machine.
package struct MachineSize: Sendable, Equatable {
    package var memoryMiB: Int
    package var vcpus: Int

    package init(memoryMiB: Int, vcpus: Int) { (self.memoryMiB, self.vcpus) = (memoryMiB, vcpus) }
}

/// What a machine has got since it was booted.
struct Growth: Sendable, Equatable {
    /// MiB, in whole blocks of the guest's.
    var memoryMiB = 0
    /// pc-dimm devices that were plugged in.
    var modules = 0
    /// The virtio-mem device is there.
    var hasVirtioMem = false
    var vcpus = 0

    /// How much a machine of `boot` MiB has to have beside that to come to `wanted`, in whole blocks.
    static func memory(boot: Int, wanted: Int, most: Int, block: Int) -> Int {
        let room = max(0, most - boot) / block * block
        return min(room, (max(0, wanted - boot) + block - 1) / block * block)
    }
}

/// A machine that grows while it runs (docs/system/cpu-hotplug.rst, docs/memory-hotplug.txt, qapi/machine.json).
extension QEMUVirtualMachine {
    /// What the machine has now.
    package var size: MachineSize {
        let growth = growth.withLock { $0 }
        return MachineSize(
            memoryMiB: configuration.memoryMiB + growth.memoryMiB, vcpus: configuration.vcpus + growth.vcpus)
    }

    /// Plugs in processors until there are `count`; the guest has to bring them online. None is taken away.
    package func addProcessors(upTo count: Int) async throws {
        let monitor = try await monitor()
        let driver = configuration.accelerator == .tcg ? "max" : "host"
        for index in size.vcpus..<max(size.vcpus, min(count, configuration.maxVCPUs)) {
            try await monitor.execute(
                "device_add",
                #"{"driver":"\#(driver)-x86_64-cpu","id":"cpu\#(index)","socket-id":0,"die-id":0,"core-id":\#(index),"thread-id":0}"#
            )
            growth.withLock { $0.vcpus += 1 }
        }
    }

    /// Brings the machine's memory to `mebibytes`, in whole blocks of the guest's, as far as its maximum allows.
    ///
    /// With virtio-mem also downwards: then the guest gives back what it can spare. A memory module can't be taken out again.
    /// - Parameter block: what the guest can add at once, in MiB (/sys/devices/system/memory/block_size_bytes).
    /// - Returns: false when the guest had not taken it within three seconds; it may do so later.
    package func setMemory(_ mebibytes: Int, block: Int) async throws -> Bool {
        let wanted = Growth.memory(
            boot: configuration.memoryMiB, wanted: mebibytes, most: configuration.maxMemoryMiB, block: block)
        let present = growth.withLock { $0 }
        guard wanted != present.memoryMiB else { return true }
        if configuration.virtioMem { return try await setVirtioMem(wanted, block: block, present.hasVirtioMem) }
        if wanted > present.memoryMiB { try await addModule(wanted - present.memoryMiB, number: present.modules) }
        return true
    }

    private func addModule(_ mebibytes: Int, number: Int) async throws {
        let monitor = try await monitor()
        let backend = "module\(number)-memory"
        try await monitor.execute("object-add", Self.memoryBackend(backend, mebibytes: mebibytes))
        do {
            try await monitor.execute(
                "device_add", #"{"driver":"pc-dimm","id":"module\#(number)","memdev":"\#(backend)"}"#)
        } catch {
            try? await monitor.execute("object-del", #"{"id":"\#(backend)"}"#)
            throw QMPError(
                "add \(mebibytes) MiB of memory: \(error); hypervisor.qemu.enable_virtio_mem = true needs no free slots"
            )
        }
        growth.withLock {
            $0.modules += 1
            $0.memoryMiB += mebibytes
        }
    }

    private static func memoryBackend(_ id: String, mebibytes: Int, reserve: Bool = true) -> String {
        #"{"qom-type":"memory-backend-memfd","id":"\#(id)","size":\#(mebibytes << 20),"share":true,"reserve":\#(reserve)}"#
    }

    private static let virtioMem = "growth"

    private func setVirtioMem(_ mebibytes: Int, block: Int, _ exists: Bool) async throws -> Bool {
        let monitor = try await monitor()
        if exists {
            try await monitor.execute(
                "qom-set",
                #"{"path":"\#(Self.virtioMem)","property":"requested-size","value":\#(mebibytes << 20)}"#)
        } else {
            // All that the machine may grow to; the host gives pages when the guest uses them.
            let most = (configuration.maxMemoryMiB - configuration.memoryMiB) / block * block
            let port = try slots.withLock { (slots) throws(QMPError) in try slots.take(Self.virtioMem) }
            do {
                try await monitor.execute(
                    "object-add", Self.memoryBackend("growth-memory", mebibytes: most, reserve: false))
                try await monitor.execute(
                    "device_add",
                    #"{"driver":"virtio-mem-pci","id":"\#(Self.virtioMem)","memdev":"growth-memory","requested-size":\#(mebibytes << 20),"bus":"\#(port)"}"#
                )
            } catch {
                try? await monitor.execute("object-del", #"{"id":"growth-memory"}"#)
                slots.withLock { $0.release(Self.virtioMem) }
                throw QMPError("add memory by virtio-mem: \(error)")
            }
            growth.withLock { $0.hasVirtioMem = true }
        }
        growth.withLock { $0.memoryMiB = mebibytes }
        let deadline = ContinuousClock.now + Deadline.growth.limit
        // QEMU tells of a change at most once a second: asking is faster.
        while ContinuousClock.now < deadline {
            let size: Int = try await monitor.query(
                "qom-get", #"{"path":"\#(Self.virtioMem)","property":"size"}"#)
            if size == mebibytes << 20 { return true }
            try? await sleep(.milliseconds(10), on: loop)
        }
        return false
    }
}
