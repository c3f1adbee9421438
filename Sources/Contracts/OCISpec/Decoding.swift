import FoundationEssentials
import LinuxKernel

/// The reason why a document is no specification: the file, the place in it, and what is expected.
package struct SpecError: Error, Equatable, CustomStringConvertible {
    package let source: String
    /// `process.user.uid`; empty for the document itself.
    package let path: String
    package let reason: String

    package init(_ source: String, _ path: String, _ reason: String) {
        self.source = source
        self.path = path
        self.reason = reason
    }

    package var description: String { path.isEmpty ? "\(source): \(reason)" : "\(source): \(path): \(reason)" }
}

extension Decodable {
    /// Decodes a JSON document.
    /// - Parameter source: the document's name in errors.
    /// - Throws: `SpecError` with the place of the first error.
    package static func decode(json: [UInt8], source: String) throws(SpecError) -> Self {
        try JSONBounds.check(json, source: source)
        if let path = JSONValue.pathOfNUL(in: json) {
            throw SpecError(source, text(path).printable(limit: 200), "holds a NUL byte")
        }
        do { return try JSONDecoder().decode(Self.self, from: Data(json)) } catch let error as DecodingError {
            switch error {
            case .typeMismatch(let type, let context):
                let value = JSONValue.text(in: json, at: context.codingPath)
                throw SpecError(
                    source, text(context.codingPath),
                    (value.map { "\($0) where " } ?? "") + "\(name(of: type)) is expected")
            case .valueNotFound(let type, let context):
                throw SpecError(source, text(context.codingPath), "null where \(name(of: type)) is expected")
            case .keyNotFound(let key, let context):
                throw SpecError(source, text(context.codingPath + [key]), "missing")
            case .dataCorrupted(let context):
                guard context.codingPath.isEmpty else {
                    throw SpecError(source, text(context.codingPath), context.debugDescription)
                }
                // The decoder reports a number that its field can't hold as corrupt data too.
                guard let number = JSONValue.misfit(in: json, for: Self.self) else {
                    throw SpecError(source, "", "not valid JSON")
                }
                throw SpecError(source, text(number.path), "\(number.value) is out of range")
            @unknown default: throw SpecError(source, "", "\(error)")
            }
        } catch { throw SpecError(source, "", "\(error)") }
    }
}

extension Encodable {
    /// The value as one line of JSON, keys in order.
    package func json(pretty: Bool = false) -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting =
            pretty ? [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted] : [.sortedKeys, .withoutEscapingSlashes]
        return (try? encoder.encode(self)).map { Array($0) } ?? []
    }
}

private func text(_ path: [any CodingKey]) -> String {
    var result = ""
    for key in path {
        if let index = key.intValue {
            result += "[\(index)]"
        } else {
            result += (result.isEmpty ? "" : ".") + key.stringValue
        }
    }
    return result
}

private func name(of type: any Any.Type) -> String {
    switch type {
    case is String.Type: "a string"
    case is Bool.Type: "true or false"
    case is any BinaryInteger.Type: "a whole number"
    case is any Collection.Type: "a list or an object"
    default: "an object"
    }
}
