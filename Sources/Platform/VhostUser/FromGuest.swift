import Glibc
import LinuxKernel

/// The transmit queue: packets from the guest, and bytes for the sockets.
extension DeviceLoop {
    /// The maximum number of chains in one turn.
    private static let maxChains = 1024

    func takeTransmitted() {
        var taken = 0
        do {
            while taken < Self.maxChains, try state.queues[Self.transmitQueue].pop(&sent, state.memory) {
                // SAFETY: the queue has checked that the buffers lie within guest memory, whose table stays during the
                // call.
                unsafe take(sent.readable)
                state.queues[Self.transmitQueue].push(sent, written: 0)
                taken += 1
            }
        } catch { state.queues[Self.transmitQueue].enabled = false }
        transmitQueueIsBusy = taken == Self.maxChains
        guard taken > 0 else { return }
        used.insert(Self.transmitQueue)
        advance()
    }

    private func take(_ buffers: [iovec]) {
        // SAFETY: the lengths are read; the memory is not.
        let total = unsafe Scatter.length(buffers)
        guard total >= VsockPacket.headerLength else { return }
        // SAFETY: the guard has checked that the buffers fill a whole header.
        let packet = unsafe withUnsafeTemporaryAllocation(byteCount: VsockPacket.headerLength, alignment: 8) { space in
            unsafe Scatter.copy(from: buffers, to: space)
            return unsafe VsockPacket(UnsafeRawPointer(space.baseAddress!))
        }
        let key = Connection.Key(hostPort: packet.destinationPort, guestPort: packet.sourcePort)
        guard packet.sourceCID == guestCID, packet.destinationCID == VsockPacket.hostCID,
            packet.type == VsockPacket.stream
        else {
            return reply(.reset, key, nil)
        }
        let operation = VsockPacket.Operation(rawValue: packet.operation)
        if operation == .request { return takeRequest(packet, key) }
        guard let connection = connections[key], connection.state != .left else {
            if operation != .reset { reply(.reset, key, nil) }
            return
        }
        connection.peerSpace = packet.bufferSpace
        connection.peerForwarded = packet.forwarded
        switch operation {
        case .response: opened(connection)
        case .reset: wasReset(connection)
        case .readWrite where connection.state == .open:
            let length = Int(packet.length)
            guard length <= total - VsockPacket.headerLength else { return refuse(connection) }
            // SAFETY: the guard has checked that the buffers hold `length` bytes behind the header.
            unsafe takeData(buffers, length, connection)
        case .creditUpdate: break
        case .creditRequest: reply(.creditUpdate, key, connection)
        case .shutdown:
            if packet.flags & VsockPacket.shutdownSend != 0 { connection.guestEnded = true }
            if packet.flags & VsockPacket.shutdownReceive != 0 { connection.guestGone = true }
            finishIfDone(connection)
        default: refuse(connection)
        }
    }

    private func takeRequest(_ packet: VsockPacket, _ key: Connection.Key) {
        // The guest is up: it may accept requests now that it refused before.
        waiting = waiting.map { ($0.dial, .now) }
        let limit: VsockDevice.Limit? =
            connections.count >= Connection.maxCount ? .streams : device.callbacks.isFull ? .newStreams : nil
        if let limit { note(limit) }
        guard limit == nil, connections[key] == nil,
            let accept = device.requested.withLock({ $0.listeners[packet.destinationPort] }), let ends = StreamEnds()
        else { return reply(.reset, key, nil) }
        let connection = Connection(key, among: connections.count + 1)
        connection.peerSpace = packet.bufferSpace
        connection.peerForwarded = packet.forwarded
        connections[key] = connection
        let theirs = ends.give(connection)
        device.callbacks.add { accept(theirs) }
        reply(.response, key, connection)
    }

    private func opened(_ connection: Connection) {
        guard connection.state == .asking, let dial = connection.dial else { return refuse(connection) }
        connection.dial = nil
        guard let ends = StreamEnds() else {
            answer(dial, .failure(.closed))
            return refuse(connection)
        }
        answer(dial, .success(ends.give(connection)))
    }

    /// Handles a reset by the guest. The reader still gets the bytes that wait here, then end of file.
    private func wasReset(_ connection: Connection) {
        if let dial = connection.dial { retry(dial) }
        connection.dial = nil
        if connection.waiting.isEmpty { connections[connection.key] = nil } else { connection.leave() }
    }

    /// - Parameter length: the number of bytes behind the header; the buffers hold at least as many.
    private func takeData(_ buffers: [iovec], _ length: Int, _ connection: Connection) {
        // The guest has sent more than its credit.
        guard length <= connection.room, !connection.guestEnded else { return refuse(connection) }
        // SAFETY: the slices lie within the buffers, which hold `length` bytes behind the header.
        let data = unsafe Scatter.slice(buffers, from: VsockPacket.headerLength, limit: length)
        var count = 0
        if connection.waiting.isEmpty, length > 0 {
            guard let taken = unsafe put(data, connection) else { return refuse(connection) }
            count = taken
        }
        if count < length {
            unsafe connection.waiting.append(
                Scatter.slice(data, from: count, limit: length - count), limit: Int(connection.space))
        }
        forwarded(count, connection)
    }

    func flush(_ connection: Connection) {
        // SAFETY: the runs stay valid until the ring changes, which is after the call.
        guard let count = unsafe put(connection.waiting.runs, connection) else { return refuse(connection) }
        connection.waiting.removeFirst(count)
        forwarded(count, connection)
        finishIfDone(connection)
    }

    /// - Returns: the number of bytes that the socket took; nil when its reader is gone.
    private func put(_ runs: [iovec], _ connection: Connection) -> Int? {
        // SAFETY: the runs lie within guest memory or a ring that lives until the call returns.
        let count = unsafe writev(connection.raw, runs, Int32(runs.count))
        if count < 0 { return errno == EAGAIN || errno == EINTR ? 0 : nil }
        return count
    }

    private func forwarded(_ count: Int, _ connection: Connection) {
        guard count > 0 else { return }
        advance()
        if connection.forward(count), connection.state == .open { reply(.creditUpdate, connection.key, connection) }
    }

    /// Passes the guest's end of file on, and ends the stream when both sides have ended.
    private func finishIfDone(_ connection: Connection) {
        guard connection.guestEnded, connection.waiting.isEmpty else { return }
        if connection.guestGone || connection.hostEnded { return refuse(connection) }
        shutdown(connection.raw, Int32(SHUT_WR))
    }

    /// Ends a stream at once and resets it in the guest.
    private func refuse(_ connection: Connection) {
        advance()
        connections[connection.key] = nil
        if let dial = connection.dial { answer(dial, .failure(.closed)) }
        if connection.state != .left { reply(.reset, connection.key, nil) }
    }
}

/// A stream's two ends on the host: a non-blocking socket pair.
private struct StreamEnds: ~Copyable {
    private let ours: FileDescriptor
    private let theirs: FileDescriptor

    /// - Returns: nil when no descriptors are left.
    init?() {
        var ends: [Int32] = [-1, -1]
        let type = Int32(SOCK_STREAM.rawValue) | O_CLOEXEC | O_NONBLOCK
        // SAFETY: `ends` has room for the two descriptors.
        guard unsafe socketpair(AF_UNIX, type, 0, &ends) == 0 else { return nil }
        ours = FileDescriptor(owning: ends[0])
        theirs = FileDescriptor(owning: ends[1])
    }

    /// Gives one end to the connection.
    /// - Returns: the other end, which the caller owns.
    consuming func give(_ connection: Connection) -> Int32 {
        connection.open(ours)
        return theirs.take()
    }
}
