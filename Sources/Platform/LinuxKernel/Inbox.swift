import Synchronization

/// Messages for a thread that waits in poll(2).
///
/// The thread polls `descriptor` beside its own descriptors, and takes all messages after each wait.
package final class Inbox<Message: Sendable>: Sendable {
    private struct State: Sendable {
        var messages: [Message] = []
        var isClosed = false
    }
    private let state = Mutex(State())
    /// Whether `descriptor` is readable. Only those that hold `state` change it.
    private let isSignalled = Atomic(false)
    private let wakeUp: WakeUp

    /// Makes an open inbox without messages.
    /// - Throws: `SystemError` for lack of a descriptor or memory.
    package init() throws(SystemError) { wakeUp = try WakeUp() }

    /// Readable when there is something to take.
    package var descriptor: Int32 { wakeUp.descriptor }

    /// The number of messages that wait.
    package var count: Int { state.withLock { $0.messages.count } }

    /// Adds messages, which one `take` gives together.
    /// - Returns: false when the inbox is closed; the messages are still the caller's then.
    @discardableResult
    package func send(_ messages: [Message]) -> Bool {
        state.withLock { state in
            guard !state.isClosed else { return false }
            state.messages += messages
            signal(&state)
            return true
        }
    }

    /// Wakes the thread without a message.
    package func wake() { state.withLock { signal(&$0) } }

    /// Takes no more messages, and ends the thread.
    /// - Returns: the messages that the thread has not taken. They are the caller's again.
    @discardableResult
    package func close() -> [Message] {
        state.withLock { state in
            state.isClosed = true
            signal(&state)
            defer { state.messages = [] }
            return state.messages
        }
    }

    /// Takes the messages that wait.
    /// - Returns: nil when the inbox is closed: the thread is to end.
    package func take() -> [Message]? {
        // Most turns of a thread are for its own descriptors.
        guard isSignalled.load(ordering: .acquiring) else { return [] }
        return state.withLock { state in
            if state.isClosed { return nil }
            wakeUp.drain()
            isSignalled.store(false, ordering: .releasing)
            defer { state.messages = [] }
            return state.messages
        }
    }

    private func signal(_ state: inout State) {
        guard !isSignalled.exchange(true, ordering: .acquiringAndReleasing) else { return }
        wakeUp.signal()
    }
}
