/// One key of configuration.toml, declared once: reader, annotations, `kata-runtime env` and docs/configuration.md
/// use this.
///
/// `Content` is the type that `configuration[key]` has.
package struct Key<Content: KeyContent>: AnyKey {
    package let path: String
    package let defaultContent: Content
    package let allowed: [String]
    package let range: ClosedRange<Int>?
    package let annotation: String?
    package let rule: AnnotationRule?
    package let hostFile: HostFile?
    package let help: String

    package var kind: Value.Kind { Content.kind }
    package var defaultValue: Value { defaultContent.value }

    /// Declares a key whose value is not the path of a host file.
    /// - Parameter annotation: nil if no annotation sets this key.
    init(
        _ path: String, _ defaultContent: Content, allowed: [String] = [], in range: ClosedRange<Int>? = nil,
        annotation: Annotation? = nil, _ help: String
    ) {
        self.init(
            path, defaultContent, allowed, range, annotation: annotation?.name, annotation?.rule, hostFile: nil, help)
    }

    private init(
        _ path: String, _ defaultContent: Content, _ allowed: [String], _ range: ClosedRange<Int>?,
        annotation: String?, _ rule: AnnotationRule?, hostFile: HostFile?, _ help: String
    ) {
        self.path = path
        self.defaultContent = defaultContent
        self.allowed = allowed
        self.range = range
        self.annotation = annotation.map { Annotations.prefix(of: path) + $0 }
        self.rule = rule
        self.hostFile = hostFile
        self.help = help
    }
}

extension Key<String> {
    /// Declares a key whose value is the path of a host file.
    ///
    /// An annotation for it always comes with the key that lists the allowed paths.
    /// - Parameter annotation: The last part of its name, and the key that lists the patterns of allowed paths.
    init(
        _ path: String, _ hostFile: HostFile, _ defaultPath: String, allowed: [String] = [],
        annotation: (name: String, listedIn: Key<[String]>)? = nil, _ help: String
    ) {
        self.init(
            path, defaultPath, allowed, nil, annotation: annotation?.name,
            (annotation?.listedIn.path).map { .listed($0) }, hostFile: hostFile, help)
    }
}

/// A key of any content: what readers of whole files and writers of documentation need.
package protocol AnyKey: Sendable {
    /// Table and name: `hypervisor.qemu.path`.
    var path: String { get }
    var kind: Value.Kind { get }
    var defaultValue: Value { get }
    /// Allowed words of a string; empty: any.
    var allowed: [String] { get }
    /// The lowest and highest number.
    var range: ClosedRange<Int>? { get }
    /// The annotation that sets the key for one pod: `io.katacontainers.config.hypervisor.kernel`.
    var annotation: String? { get }
    /// The values that the annotation may have; nil if there is no annotation.
    var rule: AnnotationRule? { get }
    /// The kind of host file that the value names; nil if it names none.
    var hostFile: HostFile? { get }
    /// One line for `docs/configuration.md`.
    var help: String { get }
}

extension AnyKey {
    package var table: String { String(path[..<path.lastIndex(of: ".")!]) }
    package var name: String { String(path[path.index(after: path.lastIndex(of: ".")!)...]) }

    /// The reason why a value of the right kind is refused; nil if it is allowed.
    func refusal(of value: Value) -> String? {
        if case .string(let string) = value, !allowed.isEmpty, !allowed.contains(string) {
            return "\"\(string)\" is not one of \(allowed.filter { !$0.isEmpty }.joined(separator: ", "))"
        }
        if case .int(let int) = value, let range, !range.contains(int) {
            return "\(int) is not within \(range.lowerBound) and \(range.upperBound)"
        }
        return nil
    }
}
