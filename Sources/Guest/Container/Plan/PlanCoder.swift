import OCISpec

/// Encodes a plan for another process of the same executable, and decodes it there: field after field, without names.
///
/// `Codable` would search the program's conformances for every type, in each new process: a quarter of such a process's
/// time.
struct PlanCoder {
    private(set) var bytes: [UInt8] = []
    private var position = 0
    private let isReading: Bool
    /// The bytes were not made by `write`: values are empty from there on.
    private(set) var isBroken = false

    static func write<Value: PlanCodable>(_ value: Value) -> [UInt8] {
        var coder = PlanCoder(isReading: false)
        var value = value
        value.code(&coder)
        return coder.bytes
    }

    /// - Returns: nil for bytes that `write` did not make.
    static func read<Value: PlanCodable>(_ type: Value.Type, _ bytes: [UInt8]) -> Value? {
        var coder = PlanCoder(isReading: true)
        coder.bytes = bytes
        var value = Value()
        value.code(&coder)
        return coder.isBroken || coder.position != bytes.count ? nil : value
    }

    private init(isReading: Bool) { self.isReading = isReading }

    // MARK: Values

    /// Codes eight bytes, the lowest first.
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

    @inline(__always) mutating func code<Number: FixedWidthInteger>(_ value: inout Number) {
        var word = UInt64(truncatingIfNeeded: value)
        self.word(&word)
        if !isReading { return }
        value = Number(truncatingIfNeeded: word)
        if UInt64(truncatingIfNeeded: value) != word { isBroken = true }
    }

    mutating func code(_ value: inout Bool) {
        var number: UInt8 = value ? 1 : 0
        code(&number)
        value = number == 1
        if number > 1 { isBroken = true }
    }

    mutating func code(_ value: inout String) {
        var count = value.utf8.count
        code(&count)
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
    ///   - empty: a value to decode into.
    ///   - element: codes one element.
    @inline(__always) mutating func code<Element>(
        _ values: inout [Element], empty: @autoclosure () -> Element,
        by element: (inout PlanCoder, inout Element) -> Void
    ) {
        var count = values.count
        code(&count)
        // Each element takes at least one byte.
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

    @inline(__always) mutating func code<Value>(
        _ value: inout Value?, empty: @autoclosure () -> Value, by body: (inout PlanCoder, inout Value) -> Void
    ) {
        var isThere = value != nil
        code(&isThere)
        guard isThere, !isBroken else {
            value = nil
            return
        }
        var inner = value ?? empty()
        body(&self, &inner)
        value = inner
    }

    mutating func code(_ values: inout [String]) { code(&values, empty: "") { $0.code(&$1) } }
    mutating func code(_ values: inout [String]?) { code(&values, empty: []) { $0.code(&$1) } }

    mutating func code<Number: FixedWidthInteger>(_ values: inout [Number]) { code(&values, empty: 0) { $0.code(&$1) } }
    mutating func code<Number: FixedWidthInteger>(_ value: inout Number?) { code(&value, empty: 0) { $0.code(&$1) } }

    mutating func code<Value: PlanCodable>(_ value: inout Value) { value.code(&self) }
    mutating func code<Value: PlanCodable>(_ values: inout [Value]) { code(&values, empty: Value()) { $1.code(&$0) } }
    mutating func code<Value: PlanCodable>(_ value: inout Value?) { code(&value, empty: Value()) { $1.code(&$0) } }

    mutating func code(_ values: inout [String: String]?) {
        var pairs = values?.sorted { $0.key < $1.key }.flatMap { [$0.key, $0.value] }
        code(&pairs)
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

/// A value that a plan coder writes and reads: `code` names its fields once, for both.
protocol PlanCodable {
    init()
    mutating func code(_ coder: inout PlanCoder)
}

// MARK: Types of the specification

extension OCISpec.Hook: PlanCodable {
    package init() { self.init(path: "") }

    mutating func code(_ coder: inout PlanCoder) {
        coder.code(&path)
        coder.code(&args)
        coder.code(&env)
        coder.code(&timeout)
    }
}

extension OCISpec.State: PlanCodable {
    package init() { self.init(Spec(), id: "", bundle: "") }

    /// The status is left out: the process that runs a hook sets it.
    mutating func code(_ coder: inout PlanCoder) {
        coder.code(&ociVersion)
        coder.code(&id)
        coder.code(&pid)
        coder.code(&bundle)
        coder.code(&annotations)
    }
}
