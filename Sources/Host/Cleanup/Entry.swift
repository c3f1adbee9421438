import LinuxKernel

extension Ledger {
    /// Something on the host that outlives the function that makes it. Rooms add factories for their kinds, such as
    /// `.mount(path:namespace:)`.
    package struct Entry: Sendable {
        package let thing: any Undoable

        package init(_ thing: some Undoable) {
            // A kind that this process writes must be one that it reads.
            Ledger.register([type(of: thing)])
            self.thing = thing
        }
    }
}

extension Ledger.Entry: Equatable {
    package static func == (one: Self, other: Self) -> Bool { isEqual(one.thing, other.thing) }

    private static func isEqual<One: Undoable>(_ one: One, _ other: any Undoable) -> Bool { one == other as? One }
}

/// The form of a synthesized enum: an object with one key, the kind, whose value is the payload.
extension Ledger.Entry: Codable {
    private struct Kind: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: Kind.self)
        guard container.allKeys.count == 1, let key = container.allKeys.first,
            let type = Ledger.kind(named: key.stringValue)
        else {
            throw DecodingError.dataCorrupted(.init(codingPath: decoder.codingPath, debugDescription: "unknown kind"))
        }
        thing = try Self.decode(type, container, key)
    }

    private static func decode<Thing: Undoable>(
        _ type: Thing.Type, _ container: KeyedDecodingContainer<Kind>, _ key: Kind
    ) throws -> any Undoable { try container.decode(Thing.self, forKey: key) }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Kind.self)
        try container.encode(thing, forKey: Kind(stringValue: type(of: thing).kind))
    }
}
