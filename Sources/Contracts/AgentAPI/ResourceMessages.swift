import OCISpec

// Converts limits to the messages of Kata's agents, and back; see SpecMessages.

extension Grpc_LinuxResources {
    package init(_ resources: Linux.Resources) {
        self.init()
        devices = (resources.devices ?? []).map { rule in
            var message = Grpc_LinuxDeviceCgroup()
            message.allow = rule.allow
            message.type = rule.type ?? ""
            // Zero is a device number; -1 means every number.
            message.major = rule.major ?? -1
            message.minor = rule.minor ?? -1
            message.access = rule.access ?? ""
            return message
        }
        if let memory = resources.memory {
            self.memory.limit = memory.limit ?? 0
            self.memory.reservation = memory.reservation ?? 0
            self.memory.swap = memory.swap ?? 0
            self.memory.kernel = memory.kernel ?? 0
            self.memory.kernelTcp = memory.kernelTCP ?? 0
            self.memory.swappiness = memory.swappiness ?? 0
            self.memory.disableOomkiller = memory.disableOOMKiller ?? false
        }
        if let cpu = resources.cpu {
            self.cpu.shares = cpu.shares ?? 0
            self.cpu.quota = cpu.quota ?? 0
            self.cpu.period = cpu.period ?? 0
            self.cpu.realtimeRuntime = cpu.realtimeRuntime ?? 0
            self.cpu.realtimePeriod = cpu.realtimePeriod ?? 0
            self.cpu.cpus = cpu.cpus ?? ""
            self.cpu.mems = cpu.mems ?? ""
        }
        if let limit = resources.pids?.limit { pids.limit = limit }
        if let blockIO = resources.blockIO { self.blockIo = Grpc_LinuxBlockIO(blockIO) }
        hugepageLimits = (resources.hugepageLimits ?? []).map { limit in
            var message = Grpc_LinuxHugepageLimit()
            (message.pagesize, message.limit) = (limit.pageSize, limit.limit)
            return message
        }
        if let network = resources.network {
            self.network.classID = network.classID ?? 0
            self.network.priorities = (network.priorities ?? []).map { priority in
                var message = Grpc_LinuxInterfacePriority()
                (message.name, message.priority) = (priority.name, priority.priority)
                return message
            }
        }
    }
}

extension Linux.Resources {
    package init(_ message: Grpc_LinuxResources) {
        self.init()
        devices = given(
            message.devices.map {
                DeviceRule(
                    allow: $0.allow, type: given($0.type), major: $0.major < 0 ? nil : $0.major,
                    minor: $0.minor < 0 ? nil : $0.minor, access: given($0.access))
            })
        if message.hasMemory {
            var memory = Memory()
            memory.limit = given(message.memory.limit)
            memory.reservation = given(message.memory.reservation)
            memory.swap = given(message.memory.swap)
            memory.kernel = given(message.memory.kernel)
            memory.kernelTCP = given(message.memory.kernelTcp)
            memory.swappiness = given(message.memory.swappiness)
            memory.disableOOMKiller = message.memory.disableOomkiller
            self.memory = memory
        }
        if message.hasCpu {
            var cpu = CPU()
            cpu.shares = given(message.cpu.shares)
            cpu.quota = given(message.cpu.quota)
            cpu.period = given(message.cpu.period)
            cpu.realtimeRuntime = given(message.cpu.realtimeRuntime)
            cpu.realtimePeriod = given(message.cpu.realtimePeriod)
            cpu.cpus = given(message.cpu.cpus)
            cpu.mems = given(message.cpu.mems)
            self.cpu = cpu
        }
        if message.hasPids {
            var pids = Pids()
            pids.limit = given(message.pids.limit)
            self.pids = pids
        }
        if message.hasBlockIo { blockIO = BlockIO(message.blockIo) }
        hugepageLimits = given(message.hugepageLimits.map { HugepageLimit(pageSize: $0.pagesize, limit: $0.limit) })
        if message.hasNetwork {
            var network = Network()
            network.classID = given(message.network.classID)
            network.priorities = given(
                message.network.priorities.map { Network.Priority(name: $0.name, priority: $0.priority) })
            self.network = network
        }
    }
}

extension Grpc_LinuxBlockIO {
    init(_ limits: Linux.Resources.BlockIO) {
        self.init()
        weight = UInt32(limits.weight ?? 0)
        leafWeight = UInt32(limits.leafWeight ?? 0)
        weightDevice = (limits.weightDevice ?? []).map { device in
            var message = Grpc_LinuxWeightDevice()
            (message.major, message.minor) = (device.major, device.minor)
            (message.weight, message.leafWeight) = (UInt32(device.weight ?? 0), UInt32(device.leafWeight ?? 0))
            return message
        }
        func messages(_ devices: [Linux.Resources.BlockIO.ThrottleDevice]?) -> [Grpc_LinuxThrottleDevice] {
            (devices ?? []).map { device in
                var message = Grpc_LinuxThrottleDevice()
                (message.major, message.minor, message.rate) = (device.major, device.minor, device.rate)
                return message
            }
        }
        throttleReadBpsDevice = messages(limits.throttleReadBpsDevice)
        throttleWriteBpsDevice = messages(limits.throttleWriteBpsDevice)
        throttleReadIopsdevice = messages(limits.throttleReadIOPSDevice)
        throttleWriteIopsdevice = messages(limits.throttleWriteIOPSDevice)
    }
}

extension Linux.Resources.BlockIO {
    init(_ message: Grpc_LinuxBlockIO) {
        self.init()
        weight = given(UInt16(clamping: message.weight))
        leafWeight = given(UInt16(clamping: message.leafWeight))
        weightDevice = given(
            message.weightDevice.map {
                WeightDevice(
                    major: $0.major, minor: $0.minor, weight: given(UInt16(clamping: $0.weight)),
                    leafWeight: given(UInt16(clamping: $0.leafWeight)))
            })
        func devices(_ messages: [Grpc_LinuxThrottleDevice]) -> [ThrottleDevice]? {
            given(messages.map { ThrottleDevice(major: $0.major, minor: $0.minor, rate: $0.rate) })
        }
        throttleReadBpsDevice = devices(message.throttleReadBpsDevice)
        throttleWriteBpsDevice = devices(message.throttleWriteBpsDevice)
        throttleReadIOPSDevice = devices(message.throttleReadIopsdevice)
        throttleWriteIOPSDevice = devices(message.throttleWriteIopsdevice)
    }
}
