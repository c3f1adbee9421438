import Glibc
import LinuxKernel

/// The receive queue: answers, and bytes from the sockets.
extension DeviceLoop {
    /// The maximum number of waiting answers.
    static let maxReplies = 1024
    /// The maximum size of a packet's data in bytes.
    private static let maxBytes = 64 << 10
    /// The maximum number of packets of a stream in one turn: a busy stream must not starve the others.
    private static let maxPackets = 16

    /// Whether the guest offers a buffer for bytes.
    var canDeliver: Bool {
        replies.isEmpty && !receiveQueueIsDry && state.queues[Self.receiveQueue].isReady
    }

    /// Interrupts the guest for the returned chains.
    func tellGuest() {
        for queue in used { state.interrupt(queue) }
        used.removeAll(keepingCapacity: true)
    }

    func reply(
        _ operation: VsockPacket.Operation, _ key: Connection.Key, _ connection: Connection?, flags: UInt32 = 0
    ) {
        // Drops answers for a guest that sends requests but offers no buffers: memory is bounded.
        guard replies.count < Self.maxReplies else { return note(.answers) }
        replies.append(packet(operation, key, connection, flags: flags))
        deliverReplies()
    }

    private func packet(
        _ operation: VsockPacket.Operation, _ key: Connection.Key, _ connection: Connection?, flags: UInt32 = 0,
        length: UInt32 = 0
    ) -> VsockPacket {
        let told = connection?.announcement(among: connections.count) ?? (space: 0, forwarded: 0)
        return VsockPacket(
            sourceCID: VsockPacket.hostCID, destinationCID: guestCID, sourcePort: key.hostPort,
            destinationPort: key.guestPort,
            length: length, operation: operation.rawValue, flags: flags, bufferSpace: told.space,
            forwarded: told.forwarded)
    }

    private func deliverReplies() {
        var count = 0
        // SAFETY: `write` gets buffers with room for a whole header.
        while count < replies.count,
            unsafe withReceiveBuffer(
                for: VsockPacket.headerLength, { buffers in unsafe write(replies[count], to: buffers) })
        {
            count += 1
        }
        replies.removeFirst(count)
    }

    private func write(_ packet: VsockPacket, to buffers: [iovec]) -> Int {
        // SAFETY: the space has room for a whole header.
        unsafe withUnsafeTemporaryAllocation(byteCount: VsockPacket.headerLength, alignment: 8) { space in
            unsafe packet.write(to: space.baseAddress!)
            unsafe Scatter.copy(from: UnsafeRawBufferPointer(space), to: buffers)
        }
        return VsockPacket.headerLength
    }

    /// Fills the guest's next receive buffer of at least `least` bytes. Returns shorter ones empty.
    /// - Parameter fill: returns the number of bytes written; nil leaves the buffer in the queue.
    /// - Returns: whether `fill` has written.
    private func withReceiveBuffer(for least: Int, _ fill: ([iovec]) -> Int?) -> Bool {
        do {
            // Bounded: a guest may offer short buffers faster than they are returned.
            for _ in 0..<Virtqueue.maxSize {
                guard try state.queues[Self.receiveQueue].pop(&chain, state.memory) else { break }
                // SAFETY: the queue has checked that the buffers lie within guest memory, and `fill` keeps none of
                // them.
                let isLongEnough = unsafe Scatter.length(chain.writable) >= least
                guard let count = unsafe isLongEnough ? fill(chain.writable) : 0 else {
                    state.queues[Self.receiveQueue].unpop()
                    return false
                }
                state.queues[Self.receiveQueue].push(chain, written: UInt32(count))
                used.insert(Self.receiveQueue)
                advance()
                if isLongEnough { return true }
            }
        } catch { state.queues[Self.receiveQueue].enabled = false }
        receiveQueueIsDry = true
        return false
    }

    func deliver() {
        deliverReplies()
        guard canDeliver else { return }
        for connection in Array(connections.values) where connection.isReadable {
            for _ in 0..<Self.maxPackets {
                // SAFETY: the buffers lie within guest memory until `fill` returns.
                guard !connection.hostEnded, connection.credit > 0,
                    unsafe withReceiveBuffer(for: VsockPacket.headerLength + 1, { unsafe fill($0, from: connection) })
                else { break }
            }
            connection.isReadable = false
            if receiveQueueIsDry { break }
        }
    }

    /// Reads from a stream's socket into a receive buffer, behind the header.
    /// - Returns: the number of bytes written; nil when the socket has none.
    private func fill(_ buffers: [iovec], from connection: Connection) -> Int? {
        // SAFETY: the result has parts of the buffers, which lie within guest memory.
        let room = unsafe Scatter.slice(
            buffers, from: VsockPacket.headerLength, limit: min(connection.credit, Self.maxBytes))
        // SAFETY: `room` lies within guest memory, which the queue has checked.
        let count = unsafe readv(connection.raw, room, Int32(room.count))
        if count < 0, errno == EAGAIN || errno == EINTR { return nil }
        if count <= 0 {
            connection.hostEnded = true
            if connection.guestEnded, connection.waiting.isEmpty {
                connections[connection.key] = nil
                return unsafe write(packet(.reset, connection.key, nil), to: buffers)
            }
            return unsafe write(
                packet(.shutdown, connection.key, connection, flags: VsockPacket.shutdownSend), to: buffers)
        }
        connection.sent &+= UInt32(count)
        return unsafe write(packet(.readWrite, connection.key, connection, length: UInt32(count)), to: buffers) + count
    }
}
