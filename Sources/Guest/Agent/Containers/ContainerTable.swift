import Synchronization
import TTRPC

/// The sandbox's containers by id. An id is taken from the first step of its creation to the last of its removal.
final class ContainerTable: Sendable {
    private enum Entry: Sendable {
        case creating
        case present(GuestContainer)
        case removing(GuestContainer)
    }

    private struct State: Sendable {
        var entries: [String: Entry] = [:]
        var first: String?
    }
    private let state = Mutex(State())

    /// Takes an id for a container to be created.
    /// - Throws: `alreadyExists`.
    func reserve(_ id: String) throws(RPCError) {
        let isFree = state.withLock { state in
            guard state.entries[id] == nil else { return false }
            state.entries[id] = .creating
            return true
        }
        guard isFree else { throw RPCError(.alreadyExists, "container \(id) exists already") }
    }

    /// Frees the id of a container that could not be created.
    func cancelReservation(_ id: String) { state.withLock { $0.entries[id] = nil } }

    func add(_ container: GuestContainer) {
        state.withLock { state in
            state.entries[container.id] = .present(container)
            state.first = state.first ?? container.id
        }
    }

    /// - Throws: `notFound`, also for a container that is being created or removed.
    func find(_ id: String) throws(RPCError) -> GuestContainer {
        guard case .present(let container) = state.withLock({ $0.entries[id] }) else { throw Self.notFound(id) }
        return container
    }

    /// The sandbox's first container, whose pid namespace others may share; nil when it is gone.
    var first: GuestContainer? {
        state.withLock { state in
            guard let id = state.first, case .present(let container) = state.entries[id] else { return nil }
            return container
        }
    }

    /// Takes a container for removal: one caller gets it, others find it no more.
    /// - Throws: `notFound`.
    func beginRemoval(_ id: String) throws(RPCError) -> GuestContainer {
        let container = state.withLock { state -> GuestContainer? in
            guard case .present(let container) = state.entries[id] else { return nil }
            state.entries[id] = .removing(container)
            return container
        }
        guard let container else { throw Self.notFound(id) }
        return container
    }

    /// Puts back a container whose removal failed.
    func cancelRemoval(_ container: GuestContainer) {
        state.withLock { $0.entries[container.id] = .present(container) }
    }

    func finishRemoval(_ container: GuestContainer) {
        state.withLock { state in
            state.entries[container.id] = nil
            // In an empty sandbox the next container is the first again.
            if state.entries.isEmpty { state.first = nil }
        }
    }

    /// Forgets all containers, for a sandbox that ends.
    func removeAll() -> [GuestContainer] {
        let entries = state.withLock { state in
            defer { state = State() }
            return state.entries.values.map { $0 }
        }
        return entries.compactMap { entry in
            switch entry {
            case .creating: nil
            case .present(let container), .removing(let container): container
            }
        }
    }

    private static func notFound(_ id: String) -> RPCError { RPCError(.notFound, "container \(id) does not exist") }
}
