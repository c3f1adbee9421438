import LinuxKernel

/// Requests for streams to the guest.
extension DeviceLoop {
    /// Takes the requests of other threads.
    /// - Returns: false when the device closes.
    func takeCommands() -> Bool {
        let (dials, closed) = device.requested.withLock { requested in
            defer { requested.dials = [] }
            return (requested.dials, requested.closed)
        }
        if !dials.isEmpty { advance() }
        waiting += dials.map { ($0, .now) }
        return !closed
    }

    func answer(_ dial: Dial, _ result: Result<Int32, VsockError>) {
        device.callbacks.add { dial.answer(result) }
    }

    private static let retryPause = Duration.milliseconds(20)

    /// Repeats a request after a pause.
    func retry(_ dial: Dial) { waiting.append((dial, .now + Self.retryPause)) }

    func retryDials() {
        let now = ContinuousClock.now
        for connection in connections.values {
            guard let dial = connection.dial, dial.deadline <= now else { continue }
            connections[connection.key] = nil
            answer(dial, .failure(.timedOut(port: dial.port)))
        }
        let due = waiting
        waiting = []
        for (dial, from) in due {
            if dial.deadline <= now {
                answer(dial, .failure(.timedOut(port: dial.port)))
            } else if from > now {
                waiting.append((dial, from))
            } else if connections.count < Connection.maxCount {
                ask(dial)
            } else {
                retry(dial)
            }
        }
    }

    private func ask(_ dial: Dial) {
        repeat {
            nextPort = (nextPort &+ 1) | Self.firstDialPort
        } while connections[Connection.Key(hostPort: nextPort, guestPort: dial.port)] != nil
        let key = Connection.Key(hostPort: nextPort, guestPort: dial.port)
        let connection = Connection(key, among: connections.count + 1)
        connection.dial = dial
        connections[key] = connection
        reply(.request, key, connection)
    }
}
