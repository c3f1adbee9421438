import OCISpec

/// A plan's way to another process of the same executable: field after field, without names.
///
/// `Codable` would search all of the program's conformances for every type, in each new process: a quarter of what such a process does.
struct Passage {
    private(set) var bytes: [UInt8] = []
    private var position = 0
    private let isReading: Bool
    /// What was read was not what is written: values are empty from there on.
    private(set) var isBroken = false

    static func write<Value: Passed>(_ value: Value) -> [UInt8] {
        var passage = Passage(isReading: false)
        var value = value
        value.pass(&passage)
        return passage.bytes
    }

    /// - Returns: nil for bytes that `write` has not made.
    static func read<Value: Passed>(_ type: Value.Type, _ bytes: [UInt8]) -> Value? {
        var passage = Passage(isReading: true)
        passage.bytes = bytes
        var value = Value()
        value.pass(&passage)
        return passage.isBroken || passage.position != bytes.count ? nil : value
    }

    private init(isReading: Bool) { self.isReading = isReading }

    // MARK: Values

    /// Eight bytes, the lowest first.
    private mutating func word(_ value: inout UInt64) {
        if isReading {
            value = 0
            guard bytes.count - position >= 8 else {
                isBroken = true
                return
            }
            for index in (0..<8).reversed() { value = value << 8 | UInt64(bytes[position + index]) }
            position += 8
        } else {
            for shift in stride(from: UInt64(0), to: 64, by: 8) {
                bytes.append(UInt8(truncatingIfNeeded: value >> shift))
            }
        }
    }

    @inline(__always) mutating func pass<Number: FixedWidthInteger>(_ value: inout Number) {
        var word = UInt64(truncatingIfNeeded: value)
        self.word(&word)
        if !isReading { return }
        value = Number(truncatingIfNeeded: word)
        if UInt64(truncatingIfNeeded: value) != word { isBroken = true }
    }

    mutating func pass(_ value: inout Bool) {
        var number: UInt8 = value ? 1 : 0
        pass(&number)
        value = number == 1
        if number > 1 { isBroken = true }
    }

    mutating func pass(_ value: inout String) {
        var count = value.utf8.count
        pass(&count)
        if isReading {
            value = ""
            guard count >= 0, count <= bytes.count - position else {
                isBroken = true
                return
            }
            value = String(decoding: bytes[position..<position + count], as: UTF8.self)
            position += count
        } else {
            bytes += value.utf8
        }
    }

    /// - Parameters:
    ///   - empty: a value to be read into.
    ///   - element: passes one.
    @inline(__always) mutating func pass<Element>(
        _ values: inout [Element], empty: @autoclosure () -> Element, by element: (inout Passage, inout Element) -> Void
    ) {
        var count = values.count
        pass(&count)
        // Each takes a byte at least.
        guard !isReading || (count >= 0 && count <= bytes.count - position) else {
            values = []
            isBroken = true
            return
        }
        if isReading { values = [] }
        for index in 0..<count where !isBroken {
            var value = isReading ? empty() : values[index]
            element(&self, &value)
            if isReading { values.append(value) }
        }
    }

    @inline(__always) mutating func pass<Value>(
        _ value: inout Value?, empty: @autoclosure () -> Value, by body: (inout Passage, inout Value) -> Void
    ) {
        var isThere = value != nil
        pass(&isThere)
        guard isThere, !isBroken else {
            value = nil
            return
        }
        var inner = value ?? empty()
        body(&self, &inner)
        value = inner
    }

    mutating func pass(_ values: inout [String]) { pass(&values, empty: "") { $0.pass(&$1) } }
    mutating func pass(_ values: inout [String]?) { pass(&values, empty: []) { $0.pass(&$1) } }

    mutating func pass<Number: FixedWidthInteger>(_ values: inout [Number]) { pass(&values, empty: 0) { $0.pass(&$1) } }
    mutating func pass<Number: FixedWidthInteger>(_ value: inout Number?) { pass(&value, empty: 0) { $0.pass(&$1) } }

    mutating func pass<Value: Passed>(_ value: inout Value) { value.pass(&self) }
    mutating func pass<Value: Passed>(_ values: inout [Value]) { pass(&values, empty: Value()) { $1.pass(&$0) } }
    mutating func pass<Value: Passed>(_ value: inout Value?) { pass(&value, empty: Value()) { $1.pass(&$0) } }

    mutating func pass(_ values: inout [String: String]?) {
        var pairs = values?.sorted { $0.key < $1.key }.flatMap { [$0.key, $0.value] }
        pass(&pairs)
        guard isReading else { return }
        guard let pairs else {
            values = nil
            return
        }
        if pairs.count % 2 != 0 { isBroken = true }
        values = [:]
        for index in stride(from: 0, to: pairs.count - 1, by: 2) { values?[pairs[index]] = pairs[index + 1] }
    }
}

/// Its fields in one order, whether they are written or read.
protocol Passed {
    init()
    mutating func pass(_ passage: inout Passage)
}

// MARK: What the specification's own types have to say to a process

extension OCISpec.Hook: Passed {
    package init() { self.init(path: "") }

    mutating func pass(_ passage: inout Passage) {
        passage.pass(&path)
        passage.pass(&args)
        passage.pass(&env)
        passage.pass(&timeout)
    }
}

extension OCISpec.State: Passed {
    package init() { self.init(Spec(), id: "", bundle: "") }

    /// Its status is told by whoever runs a hook.
    mutating func pass(_ passage: inout Passage) {
        passage.pass(&ociVersion)
        passage.pass(&id)
        passage.pass(&pid)
        passage.pass(&bundle)
        passage.pass(&annotations)
    }
}
