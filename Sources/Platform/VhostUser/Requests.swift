import LinuxKernel

/// What the VMM may ask for.
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

    static let features: UInt64 = 1 << 30 | 1 << 32  // protocol features, VIRTIO_F_VERSION_1
    static let protocolFeatures: UInt64 = 1 << 0 | 1 << 3 | 1 << 9  // MQ, REPLY_ACK, CONFIG
}

extension DeviceState {
    enum Outcome {
        case done, refused
        case answer([UInt8])
        /// No message of the protocol.
        case violation
    }

    /// Does what a message asks for.
    func take(_ message: FrontEnd.Message, guestCID: UInt64) -> Outcome {
        guard let request = Request(rawValue: message.number) else { return .refused }
        switch request {
        case .getFeatures: return .answer(little(Request.features))
        case .getProtocolFeatures: return .answer(little(Request.protocolFeatures))
        case .getQueueCount: return .answer(little(UInt64(queues.count)))
        case .getConfiguration: return configuration(message, little(guestCID))
        case .setFeatures, .setProtocolFeatures, .setOwner, .resetOwner, .setVringError: return .done
        case .setMemoryTable: return setMemory(message)
        case .setVringKick, .setVringCall: return setEvent(request, message)
        case .setVringSize, .setVringAddress, .setVringBase, .getVringBase, .setVringEnable:
            return setQueue(request, message)
        }
    }

    /// Bytes of the device's configuration space, from an offset on: the guest's CID (virtio 1.2, 5.10.4).
    private func configuration(_ message: FrontEnd.Message, _ space: [UInt8]) -> Outcome {
        let offset = Int(min(message.short(0), 8))
        let length = Int(min(message.short(4), 256))
        return .answer(
            Array(message.payload.prefix(12))
                + (offset..<offset + length).map { $0 < space.count ? space[$0] : 0 })
    }

    private func setMemory(_ message: FrontEnd.Message) -> Outcome {
        let count = Int(message.short(0))
        guard count == message.descriptors.count, message.payload.count >= 8 + count * 32 else { return .violation }
        let table = (0..<count).map { index in
            GuestMemory.Description(
                guestAddress: message.long(8 + index * 32), size: message.long(16 + index * 32),
                userAddress: message.long(24 + index * 32), offset: message.long(32 + index * 32))
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
