import Glibc
import Linux

/// The device's thread: the VMM's messages, the rings, and the sockets of all streams.
final class DeviceLoop {
    private static let receiveQueue = 0
    private static let transmitQueue = 1
    private static let mostConnections = 4096
    private static let mostReplies = 1024

    private let device: VsockDevice
    private let listener: SharedDescriptor
    private let guestCID: UInt64
    private var frontEnd: FrontEnd?
    private var state = DeviceState()
    private var connections: [Connection.Key: Connection] = [:]
    /// Headers that wait for a receive buffer.
    private var replies: [VsockPacket] = []
    private var waiting: [(dial: Dial, from: ContinuousClock.Instant)] = []
    private var nextPort: UInt32 = 1 << 30
    // One for each queue: answering what came from one takes a buffer of the other.
    private var sent = Virtqueue.Chain()
    private var chain = Virtqueue.Chain()

    init(_ device: VsockDevice, listener: SharedDescriptor, guestCID: UInt64) {
        self.device = device
        self.listener = listener
        self.guestCID = guestCID
    }

    func run() {
        signal(SIGPIPE, SIG_IGN)
        while takeCommands() {
            retryDials()
            deliver()
            wait()
        }
        dropAll()
    }

    // MARK: Waiting

    private enum Source {
        case wake, listener, frontEnd
        case kick(Int)
        case stream(Connection)
    }

    private func wait() {
        var polled: [pollfd] = []
        var sources: [Source] = []
        func add(_ descriptor: Int32, _ events: Int32, _ source: Source) {
            polled.append(pollfd(fd: descriptor, events: Int16(events), revents: 0))
            sources.append(source)
        }
        add(device.bell.descriptor, POLLIN, .wake)
        if let frontEnd { add(frontEnd.socket.raw, POLLIN, .frontEnd) } else { add(listener.raw, POLLIN, .listener) }
        for (index, kick) in state.kicks.enumerated() where kick >= 0 { add(kick, POLLIN, .kick(index)) }
        for connection in connections.values where connection.state == .open {
            var events: Int32 = 0
            if !connection.hostEnded, connection.credit > 0, !receiveQueueIsDry { events |= POLLIN }
            if connection.hasPending { events |= POLLOUT }
            if events != 0 { add(connection.socket, events, .stream(connection)) }
        }
        guard poll(&polled, nfds_t(polled.count), timeoutMilliseconds) > 0 else { return }
        for (result, source) in zip(polled, sources) where result.revents != 0 {
            switch source {
            case .wake: device.bell.answer()
            case .listener: accept()
            case .frontEnd:
                if frontEnd?.serve(state) == false { frontEndGone() }
                if state.wasStopped { forgetStreams() }
            case .kick(let index):
                drain(result.fd, 8)
                if index == Self.receiveQueue { receiveQueueIsDry = false }
                if index == Self.transmitQueue { takeTransmitted() }
            case .stream(let connection): if connection.hasPending { flush(connection) }
            }
        }
    }

    /// Set while the guest has no receive buffer for us; a kick of the queue clears it.
    private var receiveQueueIsDry = false

    private var timeoutMilliseconds: Int32 {
        let now = ContinuousClock.now
        let next = waiting.map(\.from).min().map { min($0, nearestDeadline ?? $0) } ?? nearestDeadline
        guard let next else { return -1 }
        let (seconds, attoseconds) = max(.zero, next - now).components
        return Int32(min(Int64(60_000), seconds * 1000 + attoseconds / 1_000_000_000_000_000 + 1))
    }

    private var nearestDeadline: ContinuousClock.Instant? {
        (waiting.map(\.dial.deadline) + connections.values.compactMap { $0.dial?.deadline }).min()
    }

    private func drain(_ descriptor: Int32, _ size: Int) {
        var bytes = [UInt8](repeating: 0, count: size)
        _ = read(descriptor, &bytes, size)
    }

    // MARK: The VMM

    private func accept() {
        let socket = Glibc.accept(listener.raw, nil, nil)
        guard socket >= 0 else { return }
        _ = fcntl(socket, F_SETFD, FD_CLOEXEC)
        frontEnd = FrontEnd(FileDescriptor(owning: socket), guestCID: guestCID)
    }

    private func frontEndGone() {
        frontEnd = nil
        dropAll()
        state = DeviceState()
    }

    /// Streams of a driver that is gone end here too; who waits for one waits for the next driver.
    private func forgetStreams() {
        state.wasStopped = false
        waiting += connections.values.compactMap { connection in connection.dial.map { ($0, .now + .milliseconds(20)) }
        }
        connections = [:]
        replies = []
    }

    private func dropAll() {
        for connection in connections.values { connection.dial?.answer(.failure(.closed)) }
        connections = [:]
        for (dial, _) in waiting { dial.answer(.failure(.closed)) }
        waiting = []
        replies = []
    }

    // MARK: Dials

    /// Takes what other threads left; false when the device closes.
    private func takeCommands() -> Bool {
        let (dials, closed) = device.inbox.withLock { inbox in
            defer { inbox.dials = [] }
            return (inbox.dials, inbox.closed)
        }
        waiting += dials.map { ($0, .now) }
        return !closed
    }

    private func retryDials() {
        let now = ContinuousClock.now
        for connection in connections.values {
            guard let dial = connection.dial, dial.deadline <= now else { continue }
            connections[connection.key] = nil
            dial.answer(.failure(.timedOut(port: dial.port)))
        }
        let due = waiting
        waiting = []
        for (dial, from) in due {
            if dial.deadline <= now {
                dial.answer(.failure(.timedOut(port: dial.port)))
            } else if from <= now, connections.count < Self.mostConnections {
                ask(dial)
            } else {
                waiting.append((dial, from))
            }
        }
    }

    private func ask(_ dial: Dial) {
        repeat {
            nextPort = (nextPort &+ 1) | 1 << 30
        } while connections[Connection.Key(hostPort: nextPort, guestPort: dial.port)] != nil
        let connection = Connection(Connection.Key(hostPort: nextPort, guestPort: dial.port))
        connection.dial = dial
        connections[connection.key] = connection
        reply(.request, connection.key, connection)
    }

    // MARK: From the guest

    private func takeTransmitted() {
        var moved = 0
        do {
            while moved < 1024, try state.queues[Self.transmitQueue].pop(&sent, state.memory) {
                take(sent.readable)
                state.queues[Self.transmitQueue].push(sent, written: 0)
                moved += 1
            }
        } catch { state.queues[Self.transmitQueue].enabled = false }
        if moved > 0 { state.interrupt(Self.transmitQueue) }
        if moved == 1024 { kickSelf() }
    }

    private func kickSelf() {
        let kick = state.kicks[Self.transmitQueue]
        guard kick >= 0 else { return }
        var one: UInt64 = 1
        _ = Glibc.write(kick, &one, 8)
    }

    private func take(_ buffers: [iovec]) {
        let total = Scatter.length(buffers)
        guard total >= VsockPacket.headerLength else { return }
        let packet = withUnsafeTemporaryAllocation(byteCount: VsockPacket.headerLength, alignment: 8) { space in
            Scatter.copy(from: buffers, to: space)
            return VsockPacket(UnsafeRawPointer(space.baseAddress!))
        }
        let key = Connection.Key(hostPort: packet.destinationPort, guestPort: packet.sourcePort)
        guard packet.sourceCID == guestCID, packet.destinationCID == VsockPacket.hostCID, packet.type == 1 else {
            return reply(.reset, key, nil)
        }
        let operation = VsockPacket.Operation(rawValue: packet.operation)
        if operation == .request { return takeRequest(packet, key) }
        guard let connection = connections[key] else {
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
            takeData(Scatter.slice(buffers, from: VsockPacket.headerLength, limit: length), length, connection)
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
        // The guest is up: whoever was refused before has a better chance now.
        waiting = waiting.map { ($0.dial, .now) }
        guard connections[key] == nil, connections.count < Self.mostConnections,
            let accept = device.inbox.withLock({ $0.listeners[packet.destinationPort] }), let ends = socketPair()
        else { return reply(.reset, key, nil) }
        let connection = Connection(key)
        connection.state = .open
        connection.socket = ends.ours
        connection.peerSpace = packet.bufferSpace
        connection.peerForwarded = packet.forwarded
        connections[key] = connection
        reply(.response, key, connection)
        accept(ends.theirs)
    }

    private func opened(_ connection: Connection) {
        guard connection.state == .asking, let dial = connection.dial else { return refuse(connection) }
        connection.dial = nil
        guard let ends = socketPair() else {
            dial.answer(.failure(.closed))
            return refuse(connection)
        }
        connection.state = .open
        connection.socket = ends.ours
        dial.answer(.success(ends.theirs))
    }

    private func wasReset(_ connection: Connection) {
        connections[connection.key] = nil
        if let dial = connection.dial { waiting.append((dial, .now + .milliseconds(20))) }
        // Bytes that the reader has not taken yet are still his; the end comes behind them.
        if connection.hasPending { flushLast(connection) }
    }

    private func flushLast(_ connection: Connection) {
        _ = connection.pending.withUnsafeBytes {
            send(
                connection.socket, $0.baseAddress! + connection.pendingStart, $0.count - connection.pendingStart,
                Int32(MSG_NOSIGNAL))
        }
    }

    private func takeData(_ buffers: [iovec], _ length: Int, _ connection: Connection) {
        connection.received &+= UInt32(length)
        // More than we said we would hold: the guest lies about its credit.
        guard connection.received &- connection.forwarded <= Connection.bufferSpace, !connection.guestEnded else {
            return refuse(connection)
        }
        var written = 0
        if !connection.hasPending, length > 0 {
            written = buffers.withUnsafeBufferPointer { writev(connection.socket, $0.baseAddress, Int32($0.count)) }
            if written < 0 {
                guard errno == EAGAIN || errno == EINTR else { return refuse(connection) }
                written = 0
            }
        }
        if written < length {
            var rest = [UInt8](repeating: 0, count: length - written)
            rest.withUnsafeMutableBytes {
                Scatter.copy(from: Scatter.slice(buffers, from: written, limit: length - written), to: $0)
            }
            connection.pending += rest
        }
        forwarded(written, connection)
    }

    private func flush(_ connection: Connection) {
        let count = connection.pending.withUnsafeBytes {
            Glibc.write(
                connection.socket, $0.baseAddress! + connection.pendingStart, $0.count - connection.pendingStart)
        }
        if count < 0 {
            if errno != EAGAIN, errno != EINTR { refuse(connection) }
            return
        }
        connection.pendingStart += count
        if !connection.hasPending {
            connection.pending.removeAll(keepingCapacity: true)
            connection.pendingStart = 0
        }
        forwarded(count, connection)
        finishIfDone(connection)
    }

    private func forwarded(_ count: Int, _ connection: Connection) {
        connection.forwarded &+= UInt32(count)
        if connection.forwarded &- connection.announced > Connection.bufferSpace / 4 {
            reply(.creditUpdate, connection.key, connection)
        }
    }

    /// Passes the guest's end on, and ends the stream when both sides have ended theirs.
    private func finishIfDone(_ connection: Connection) {
        guard connection.guestEnded, !connection.hasPending else { return }
        if connection.guestGone || connection.hostEnded { return refuse(connection) }
        shutdown(connection.socket, Int32(SHUT_WR))
    }

    /// Ends a stream at once; the guest is told.
    private func refuse(_ connection: Connection) {
        connections[connection.key] = nil
        connection.dial?.answer(.failure(.closed))
        reply(.reset, connection.key, nil)
    }

    // MARK: To the guest

    private func reply(
        _ operation: VsockPacket.Operation, _ key: Connection.Key, _ connection: Connection?, flags: UInt32 = 0
    ) {
        // A guest that never offers buffers but keeps asking loses answers, not our memory.
        guard replies.count < Self.mostReplies else { return }
        replies.append(packet(operation, key, connection, flags: flags))
        deliverReplies()
    }

    private func packet(
        _ operation: VsockPacket.Operation, _ key: Connection.Key, _ connection: Connection?, flags: UInt32 = 0,
        length: UInt32 = 0
    ) -> VsockPacket {
        connection.map { $0.announced = $0.forwarded }
        return VsockPacket(
            sourceCID: VsockPacket.hostCID, destinationCID: guestCID, sourcePort: key.hostPort,
            destinationPort: key.guestPort,
            length: length, operation: operation.rawValue, flags: flags, bufferSpace: Connection.bufferSpace,
            forwarded: connection?.forwarded ?? 0)
    }

    private func deliverReplies() {
        var count = 0
        while count < replies.count, withReceiveBuffer({ buffers in write(replies[count], to: buffers) }) { count += 1 }
        guard count > 0 else { return }
        replies.removeFirst(count)
        state.interrupt(Self.receiveQueue)
    }

    private func write(_ packet: VsockPacket, to buffers: [iovec]) -> Int {
        withUnsafeTemporaryAllocation(byteCount: VsockPacket.headerLength, alignment: 8) { space in
            packet.write(to: space.baseAddress!)
            Scatter.copy(from: UnsafeRawBufferPointer(space), to: buffers)
        }
        return VsockPacket.headerLength
    }

    /// Lets `fill` write into the guest's next receive buffer; it returns the bytes written, or a negative number to leave it.
    private func withReceiveBuffer(_ fill: ([iovec]) -> Int) -> Bool {
        do {
            // A guest that offers what is too short faster than it is given back does not keep us here.
            for _ in 0..<Virtqueue.largestSize {
                guard try state.queues[Self.receiveQueue].pop(&chain, state.memory) else { break }
                guard Scatter.length(chain.writable) >= VsockPacket.headerLength else {
                    state.queues[Self.receiveQueue].push(chain, written: 0)
                    continue
                }
                let written = fill(chain.writable)
                if written < 0 {
                    state.queues[Self.receiveQueue].unpop()
                    return false
                }
                state.queues[Self.receiveQueue].push(chain, written: UInt32(written))
                return true
            }
            receiveQueueIsDry = true
        } catch { state.queues[Self.receiveQueue].enabled = false }
        return false
    }

    private func deliver() {
        deliverReplies()
        guard replies.isEmpty, !receiveQueueIsDry, state.queues[Self.receiveQueue].isReady else { return }
        var delivered = false
        // A few packets a stream and turn: a busy one doesn't starve the others.
        for connection in Array(connections.values) where connection.state == .open && !connection.hostEnded {
            for _ in 0..<16 {
                guard connection.credit > 0, withReceiveBuffer({ buffers in fill(buffers, from: connection) }) else {
                    break
                }
                delivered = true
                if connection.hostEnded { break }
            }
            if receiveQueueIsDry { break }
        }
        if delivered { state.interrupt(Self.receiveQueue) }
    }

    /// Reads from a stream's socket straight into a receive buffer, behind the header.
    private func fill(_ buffers: [iovec], from connection: Connection) -> Int {
        let room = Scatter.slice(
            buffers, from: VsockPacket.headerLength, limit: min(connection.credit, 64 << 10))
        guard !room.isEmpty else { return -1 }
        let count = room.withUnsafeBufferPointer { readv(connection.socket, $0.baseAddress, Int32($0.count)) }
        if count < 0, errno == EAGAIN || errno == EINTR { return -1 }
        if count <= 0 {
            connection.hostEnded = true
            if connection.guestEnded, !connection.hasPending {
                connections[connection.key] = nil
                return write(packet(.reset, connection.key, nil), to: buffers)
            }
            return write(packet(.shutdown, connection.key, connection, flags: VsockPacket.shutdownSend), to: buffers)
        }
        connection.sent &+= UInt32(count)
        return write(packet(.readWrite, connection.key, connection, length: UInt32(count)), to: buffers) + count
    }

    private func socketPair() -> (ours: Int32, theirs: Int32)? {
        var ends: [Int32] = [-1, -1]
        let type = Int32(SOCK_STREAM.rawValue) | O_CLOEXEC | O_NONBLOCK
        return socketpair(AF_UNIX, type, 0, &ends) == 0 ? (ends[0], ends[1]) : nil
    }
}
