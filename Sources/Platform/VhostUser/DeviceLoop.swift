import CLinux
import Glibc
import LinuxKernel

/// The device's thread: serves the VMM's messages, the rings, and the sockets of all streams. It blocks only in
/// poll(2).
final class DeviceLoop {
    static let receiveQueue = 0
    static let transmitQueue = 1

    let device: VsockDevice
    let guestCID: UInt64
    private let listener: SharedDescriptor
    private var frontEnd: FrontEnd?
    var state = DeviceState()
    var connections: [Connection.Key: Connection] = [:]
    /// Packets without data that wait for a receive buffer.
    var replies: [VsockPacket] = []
    var waiting: [(dial: Dial, from: ContinuousClock.Instant)] = []
    /// Host ports of our own requests are at or above this number.
    static let firstDialPort: UInt32 = 1 << 30
    var nextPort = firstDialPort
    // One for each queue: an answer to a packet of one takes a buffer of the other.
    var sent = Virtqueue.Chain()
    var chain = Virtqueue.Chain()

    /// Whether the guest offers no receive buffer that is large enough. A kick of the queue or a message of the VMM
    /// clears it.
    var receiveQueueIsDry = false
    /// Whether the transmit queue may have chains of which no kick tells: more than a turn takes, or from before a
    /// message of the VMM.
    var transmitQueueIsBusy = false
    /// Queues with returned chains, for which an interrupt is due.
    var used: Set<Int> = []

    private var polled = PollSet<Source>()
    private var idling = Idling()
    private var noted: Set<VsockDevice.Limit> = []

    init(_ device: VsockDevice, listener: SharedDescriptor, guestCID: UInt64) {
        self.device = device
        self.listener = listener
        self.guestCID = guestCID
    }

    func run() {
        signal(SIGPIPE, SIG_IGN)
        _ = fcntl(listener.raw, F_SETFL, O_NONBLOCK)
        // Goes on without the filter on a kernel that has none.
        _ = clx_confine_device()
        while takeCommands() {
            retryDials()
            deliver()
            if transmitQueueIsBusy { takeTransmitted() }
            tellGuest()
            wait()
        }
        dropAll()
        device.callbacks.end()
    }

    /// Reports a limit, the first time that the guest reaches it.
    func note(_ limit: VsockDevice.Limit) {
        guard noted.insert(limit).inserted else { return }
        device.callbacks.add { [device] in device.reached(limit) }
    }

    /// Records progress in this turn.
    func advance() { idling.moved = true }

    // MARK: Waiting

    /// The descriptors of poll(2). Keeps those that the VMM may replace open, so that their numbers are not reused.
    private enum Source {
        case wakeUp, listener
        case frontEnd(FrontEnd)
        case kick(Int, SharedDescriptor)
        case stream(Connection)
    }

    private func wait() {
        polled.removeAll()
        polled.add(device.wakeUp.descriptor, for: .wakeUp)
        let pause = idling.pause()
        if pause == nil { pollAll() }
        let limit = transmitQueueIsBusy ? .zero : timeout
        let count = polled.wait(pause.map { min($0, limit ?? $0) } ?? limit)
        if count > 0 { polled.forEachReady(handle) }
        // A turn that waited is not idle.
        if count == 0, pause == nil { advance() }
    }

    private func pollAll() {
        if let frontEnd {
            polled.add(frontEnd.socket.raw, for: .frontEnd(frontEnd))
        } else {
            polled.add(listener.raw, for: .listener)
        }
        for (index, kick) in state.kicks.enumerated() {
            if let kick { polled.add(kick.raw, for: .kick(index, kick)) }
        }
        for connection in connections.values {
            let events = events(of: connection)
            if events != 0 { polled.add(connection.raw, for: .stream(connection), events) }
        }
    }

    /// The events to poll a stream for: only those that this turn could handle.
    private func events(of connection: Connection) -> Int32 {
        var events: Int32 = 0
        if connection.state == .open, !connection.hostEnded, connection.credit > 0, canDeliver { events |= POLLIN }
        if !connection.waiting.isEmpty { events |= POLLOUT }
        return events
    }

    private func handle(_ source: Source, _ events: Int32) {
        switch source {
        case .wakeUp: device.wakeUp.drain()
        case .listener: accept()
        case .frontEnd(let frontEnd): serve(frontEnd)
        case .kick(let index, let kick): if state.kicks[index] === kick { kicked(index) }
        case .stream(let connection):
            guard connections[connection.key] === connection else { return }
            // The next read or write reports an error or a hang-up.
            if !connection.waiting.isEmpty { flush(connection) }
            if events & ~POLLOUT != 0 { connection.isReadable = true }
        }
    }

    private func kicked(_ queue: Int) {
        state.takeKick(queue)
        if queue == Self.receiveQueue, receiveQueueIsDry {
            receiveQueueIsDry = false
            advance()
        }
        if queue == Self.transmitQueue { takeTransmitted() }
    }

    /// The time until the next deadline; nil without one.
    private var timeout: Duration? {
        let times =
            waiting.flatMap { [$0.from, $0.dial.deadline] } + connections.values.compactMap { $0.dial?.deadline }
        return times.min().map { $0 - .now }
    }

    // MARK: The VMM

    private func accept() {
        // Without a free descriptor the VMM waits in the backlog; `Idling` keeps this loop from spinning.
        let socket = clx_accept(listener.raw)
        guard socket >= 0 else { return }
        advance()
        frontEnd = FrontEnd(FileDescriptor(owning: socket), guestCID: guestCID)
    }

    private func serve(_ frontEnd: FrontEnd) {
        switch frontEnd.serve(state) {
        case .waiting: return
        case .answered:
            receiveQueueIsDry = false
            // A kick may have come before the rings could be reached.
            transmitQueueIsBusy = true
            if state.wasStopped { forgetStreams() }
        case .gone:
            self.frontEnd = nil
            dropAll()
            state = DeviceState()
            receiveQueueIsDry = false
            transmitQueueIsBusy = false
        }
        advance()
    }

    /// Ends the streams of a driver that is gone. Pending requests wait for the next driver.
    private func forgetStreams() {
        state.wasStopped = false
        for connection in connections.values { if let dial = connection.dial { retry(dial) } }
        connections = [:]
        replies = []
    }

    private func dropAll() {
        for dial in connections.values.compactMap(\.dial) + waiting.map(\.dial) { answer(dial, .failure(.closed)) }
        (connections, waiting, replies) = ([:], [], [])
    }
}

/// Counts turns of the loop without progress, and makes every other one wait without the descriptors after too many of
/// them.
///
/// Such turns come from descriptors that are always ready: of a malicious VMM, or of the listener while no descriptor
/// is left.
struct Idling {
    private static let maxTurns = 64
    private static let pause = Duration.milliseconds(10)

    var moved = false
    private var turns = 0

    /// Begins a turn.
    /// - Returns: the time to wait without polling the descriptors; nil to poll them.
    mutating func pause() -> Duration? {
        turns = moved ? 0 : turns + 1
        moved = false
        return turns > Self.maxTurns && turns % 2 == 0 ? Self.pause : nil
    }
}
