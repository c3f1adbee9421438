import EventLoop
import Hypervisor
import LinuxKernel
import Synchronization

/// The memory that was added to a machine since its boot.
struct Growth: Sendable, Equatable {
    /// MiB, in whole memory blocks of the guest.
    var memoryMiB = 0
    /// Number of memory modules (pc-dimm) that were added.
    var modules = 0
    /// Whether the virtio-mem device exists.
    var hasVirtioMem = false
    var vcpus = 0

    /// The memory to add to a machine of `boot` MiB to reach `wanted`, in whole blocks.
    static func memory(boot: Int, wanted: Int, maximum: Int, block: Int) -> Int {
        let room = max(0, maximum - boot) / block * block
        return min(room, (max(0, wanted - boot) + block - 1) / block * block)
    }
}

/// Processors and memory of a running machine (docs/system/cpu-hotplug.rst, docs/memory-hotplug.txt,
/// qapi/machine.json).
extension QEMUMachine {
    package var size: MachineSize {
        let growth = growth.withLock { $0 }
        return MachineSize(
            memoryMiB: configuration.memoryMiB + growth.memoryMiB, vcpus: configuration.vcpus + growth.vcpus)
    }

    package func processorThreads() async throws -> [Int32] {
        // TCG may run all processors in one thread.
        let threads = Set(try await monitor().query(QMP.Processors()).map(\.thread))
        // QEMU tells the numbers of its own pid namespace.
        return Files.list("/proc/\(pid)/task").compactMap { Int32($0) }.filter { thread in
            let status = (try? Files.readText("/proc/\(pid)/task/\(thread)/status")) ?? ""
            return Self.innermostNumber(status).map(threads.contains) ?? false
        }
    }

    /// A thread's number in its own pid namespace, by its status file (proc_pid_status(5), "NSpid").
    static func innermostNumber(_ status: String) -> Int32? {
        let line = status.split(separator: "\n").first { $0.hasPrefix("NSpid:") }
        return line?.split(whereSeparator: \.isWhitespace).last.flatMap { Int32($0) }
    }

    package func setProcessors(_ count: Int) async throws {
        let monitor = try await monitor()
        let model = qemu.accelerator.accelerator == .tcg ? "max" : "host"
        for index in size.vcpus..<max(size.vcpus, min(count, configuration.maxVCPUs)) {
            var processor = QMP.DeviceAdd(driver: "\(model)-x86_64-cpu", id: Self.processor + "\(index)")
            (processor.socketID, processor.dieID, processor.coreID, processor.threadID) = (0, 0, index, 0)
            try await monitor.execute(processor)
            growth.withLock { $0.vcpus += 1 }
        }
        guard capabilities.hotUnplug.contains(.processor) else { return }
        while size.vcpus > max(count, configuration.vcpus) {
            // A guest that keeps a processor has not failed: its containers' quotas still bind it.
            do { try await remove(device: Self.processor + "\(size.vcpus - 1)", timeout: Deadline.release.limit) } catch
            {
                return
            }
        }
    }

    /// The beginning of a processor's device id.
    private static let processor = "cpu"

    /// Counts a processor that the guest has released, also one that it releases after the deadline.
    func countProcessor(_ event: Monitor.Event) {
        guard event.name == "DEVICE_DELETED", event.device?.hasPrefix(Self.processor) == true else { return }
        growth.withLock { $0.vcpus -= 1 }
    }

    /// With virtio-mem, memory also shrinks: the guest returns unused memory. A module can't be removed again.
    package func setMemory(_ mebibytes: Int, block: Int) async throws -> Bool {
        let wanted = Growth.memory(
            boot: configuration.memoryMiB, wanted: mebibytes, maximum: configuration.maxMemoryMiB, block: block)
        let present = growth.withLock { $0 }
        guard wanted != present.memoryMiB else { return true }
        if configuration.virtioMem { return try await setVirtioMem(wanted, block: block, present.hasVirtioMem) }
        if wanted > present.memoryMiB { try await addModule(wanted - present.memoryMiB, number: present.modules) }
        return true
    }

    private func addModule(_ mebibytes: Int, number: Int) async throws {
        let monitor = try await monitor()
        let backend = "module\(number)-memory"
        try await monitor.execute(QMP.ObjectAdd.memory(backend, mebibytes: mebibytes))
        do {
            var module = QMP.DeviceAdd(driver: "pc-dimm", id: "module\(number)")
            module.memdev = backend
            try await monitor.execute(module)
        } catch {
            try? await monitor.execute(QMP.ObjectDelete(id: backend))
            throw VMError(
                "add \(mebibytes) MiB of memory: \(error); hypervisor.qemu.enable_virtio_mem = true needs no free slots"
            )
        }
        growth.withLock {
            $0.modules += 1
            $0.memoryMiB += mebibytes
        }
    }

    // MARK: virtio-mem

    private static let virtioMem = "growth"
    private static let virtioMemBackend = "growth-memory"
    /// Polls: QEMU reports a change at most once a second.
    private static let virtioMemPause = Duration.milliseconds(10)

    private func setVirtioMem(_ mebibytes: Int, block: Int, _ exists: Bool) async throws -> Bool {
        let monitor = try await monitor()
        if exists {
            try await monitor.execute(
                QMP.SetProperty(path: Self.virtioMem, property: "requested-size", value: mebibytes << 20))
        } else {
            try await addVirtioMem(mebibytes, block: block, monitor)
        }
        growth.withLock { $0.memoryMiB = mebibytes }
        let deadline = ContinuousClock.now + Deadline.growth.limit
        while ContinuousClock.now < deadline {
            let size = try await monitor.query(QMP.GetProperty(path: Self.virtioMem, property: "size"))
            if size == mebibytes << 20 { return true }
            try? await sleep(Self.virtioMemPause, on: loop)
        }
        return false
    }

    private func addVirtioMem(_ mebibytes: Int, block: Int, _ monitor: Monitor) async throws {
        // The maximum of the machine; the host allocates pages when the guest uses them.
        let maximum = (configuration.maxMemoryMiB - configuration.memoryMiB) / block * block
        let port = try takePort(Self.virtioMem)
        do {
            try await monitor.execute(QMP.ObjectAdd.memory(Self.virtioMemBackend, mebibytes: maximum, reserve: false))
            var device = QMP.DeviceAdd(driver: "virtio-mem-pci", id: Self.virtioMem, bus: port)
            (device.memdev, device.requestedSize) = (Self.virtioMemBackend, mebibytes << 20)
            try await monitor.execute(device)
        } catch {
            try? await monitor.execute(QMP.ObjectDelete(id: Self.virtioMemBackend))
            releasePort(Self.virtioMem)
            throw VMError("add memory by virtio-mem: \(error)")
        }
        growth.withLock { $0.hasVirtioMem = true }
    }
}
