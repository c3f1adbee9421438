/// A container's state as hooks read it (runtime.md, "State").
package struct State: Codable, Equatable, Sendable {
    package var ociVersion: String
    package var id: String
    package var status: Status
    package var pid: Int32?
    package var bundle: String
    package var annotations: [String: String]?

    package enum Status: String, Codable, Sendable { case creating, created, running, stopped }

    package init(_ spec: Spec, id: String, bundle: String, status: Status = .creating, pid: Int32? = nil) {
        ociVersion = Spec.version
        self.id = id
        self.status = status
        self.pid = pid
        self.bundle = bundle
        annotations = spec.annotations
    }
}
