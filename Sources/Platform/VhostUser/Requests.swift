import LinuxKernel

/// The VMM's requests (VHOST_USER_*).
private enum Request: UInt32 {
    case getFeatures = 1
    case setFeatures = 2
    case setOwner = 3
    case resetOwner = 4
    case setMemoryTable = 5
    case setVringSize = 8
    case setVringAddress = 9
    case setVringBase = 10
    case getVringBase = 11
    case setVringKick = 12
    case setVringCall = 13
    case setVringError = 14
    case getProtocolFeatures = 15
    case setProtocolFeatures = 16
    case getQueueCount = 17
    case setVringEnable = 18
    case getConfiguration = 24

}

/// The device's features.
private enum Features {
    private static let virtioVersion1: UInt64 = 1 << 32
    /// VHOST_USER_F_PROTOCOL_FEATURES: there are protocol features.
    private static let hasProtocolFeatures: UInt64 = 1 << 30
    static let virtio = hasProtocolFeatures | virtioVersion1

    /// VHOST_USER_PROTOCOL_F_*.
    private static let multipleQueues: UInt64 = 1 << 0
    private static let replyAcknowledgement: UInt64 = 1 << 3
    private static let configuration: UInt64 = 1 << 9
    static let `protocol` = multipleQueues | replyAcknowledgement | configuration
}

/// Sizes of payloads in bytes.
private enum Layout {
    /// The head of a configuration message, and the size of its space (virtio_vsock_config).
    static let configurationHead = 12
    static let configurationSize: UInt32 = 8
    static let maxConfiguration: UInt32 = 256
    /// The head of a memory table, and one region of it.
    static let tableHead = 8
    static let region = 32
}

extension DeviceState {
    enum Outcome {
        case done, refused
        case answer([UInt8])
        /// The message breaks the protocol.
        case violation
    }

    /// Applies a message.
    func take(_ message: FrontEnd.Message, guestCID: UInt64) -> Outcome {
        guard let request = Request(rawValue: message.number) else { return .refused }
        switch request {
        case .getFeatures: return .answer(little(Features.virtio))
        case .getProtocolFeatures: return .answer(little(Features.protocol))
        case .getQueueCount: return .answer(little(UInt64(queues.count)))
        case .getConfiguration: return configuration(message, little(guestCID))
        case .setFeatures, .setProtocolFeatures, .setOwner, .resetOwner, .setVringError: return .done
        case .setMemoryTable: return setMemory(message)
        case .setVringKick, .setVringCall: return setEvent(request, message)
        case .setVringSize, .setVringAddress, .setVringBase, .getVringBase, .setVringEnable:
            return setQueue(request, message)
        }
    }

    /// The requested bytes of the device's configuration space, which is the guest's CID (virtio 1.2, 5.10.4).
    private func configuration(_ message: FrontEnd.Message, _ space: [UInt8]) -> Outcome {
        let offset = Int(min(message.short(0), Layout.configurationSize))
        let length = Int(min(message.short(4), Layout.maxConfiguration))
        return .answer(
            Array(message.payload.prefix(Layout.configurationHead))
                + (offset..<offset + length).map { $0 < space.count ? space[$0] : 0 })
    }

    private func setMemory(_ message: FrontEnd.Message) -> Outcome {
        let count = Int(message.short(0))
        guard count == message.descriptors.count,
            message.payload.count >= Layout.tableHead + count * Layout.region
        else { return .violation }
        let table = (0..<count).map { index in
            let start = Layout.tableHead + index * Layout.region
            return GuestMemory.Description(
                guestAddress: message.long(start), size: message.long(start + 8),
                userAddress: message.long(start + 16), offset: message.long(start + 24))
        }
        do { try memory.replace(table, files: message.descriptors) } catch { return .refused }
        for index in queues.indices { queues[index].resolve(in: memory) }
        return .done
    }

    private func setEvent(_ request: Request, _ message: FrontEnd.Message) -> Outcome {
        let index = Int(message.short(0) & 0xff)
        guard index < queues.count else { return .refused }
        let event = message.descriptors.first
        guard request == .setVringKick else { return setCall(index, event) ? .done : .refused }
        queues[index].enabled = true
        return setKick(index, event) ? .done : .refused
    }

    private func setQueue(_ request: Request, _ message: FrontEnd.Message) -> Outcome {
        let (index, number) = (Int(message.short(0)), message.short(4))
        guard index < queues.count else { return request == .getVringBase ? .violation : .refused }
        switch request {
        case .setVringSize: queues[index].resize(number, in: memory)
        case .setVringAddress:
            queues[index].place(
                descriptors: message.long(8), available: message.long(24), used: message.long(16), in: memory)
        case .setVringBase: queues[index].lastAvailable = UInt16(truncatingIfNeeded: number)
        case .getVringBase:
            queues[index].enabled = false
            _ = setKick(index, nil)
            wasStopped = true
            return .answer(little(UInt64(index) | UInt64(queues[index].lastAvailable) << 32))
        default: queues[index].enabled = number != 0
        }
        return .done
    }
}
