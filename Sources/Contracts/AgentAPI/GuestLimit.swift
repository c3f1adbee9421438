import TTRPC

/// Limits on the data that the host accepts from a guest. The table in docs/reliability.md is made from these.
package enum GuestLimit: String, CaseIterable, Sendable {
    case reply
    case figures = "figures reply"
    case text = "text reply"
    case largeCalls = "large calls"
    case errorText = "error text"
    case unknownContainer = "out of memory, unknown container"
    case outOfMemory = "out of memory, rate"
    case exitStatus = "exit status"
    case socketClients = "socket clients"
    case socketIdentity = "socket identity"
    case portClients = "port clients"
    case resolverConnections = "resolver connections"
    case resolverClients = "resolver clients"
    case streams
    case newStreams = "new streams"
    case streamAnswers = "stream answers"

    package struct Facts: Sendable {
        /// The thing that is bounded.
        package let what: String
        package let value: Int
        package let unit: String
        /// The effect when it is reached.
        package let then: String

        fileprivate init(_ what: String, _ value: Int, _ unit: String, then: String) {
            (self.what, self.value, self.unit, self.then) = (what, value, unit, then)
        }
    }

    package var value: Int { facts.value }

    package var facts: Facts {
        switch self {
        case .reply:
            Facts("an agent's reply", 64 << 10, "bytes", then: "the call fails; nothing of the reply is kept")
        case .figures:
            Facts("a container's figures; links and routes", 256 << 10, "bytes", then: "as above")
        case .text:
            Facts("a guest's metrics, a list of processes", (4 << 20) - 64, "bytes", then: "as above")
        case .largeCalls:
            Facts("calls under way whose reply may be longer than the first limit", 8, "", then: "further ones wait")
        case .errorText:
            Facts("text of an agent's error", 1 << 10, "bytes", then: "it is cut")
        case .unknownContainer:
            Facts(
                "reports of memory that has run out, of containers that the sandbox doesn't have", 0, "",
                then: "they are dropped")
        case .outOfMemory:
            Facts(
                "reports of memory that has run out, for a container", 1, "a second", then: "further ones are dropped")
        case .exitStatus:
            Facts("an exit status", 255, "", then: "another number counts as 255")
        case .socketClients:
            Facts("connections to a socket of the host", 512, "at a time", then: "further ones are closed")
        case .portClients:
            Facts("connections of the host to ports of the guest", 512, "at a time", then: "further ones are reset")
        case .resolverConnections:
            Facts(
                "TCP connections to the resolver of the network namespace", 64, "at a time",
                then: "further ones are closed")
        case .resolverClients:
            Facts(
                "clients by datagram of the resolver of the network namespace", 64, "at a time",
                then: "the one that was first is closed")
        case .streams: Facts("vsock streams, of both sides", 4096, "at a time", then: "further ones are reset")
        case .newStreams:
            Facts("vsock streams that the shim has not taken yet", 256, "", then: "further ones are reset")
        case .streamAnswers:
            Facts(
                "answers for which the guest's vsock driver offers no buffer", 1024, "",
                then: "further ones are dropped")
        case .socketIdentity:
            Facts(
                "identities of clients of a socket of the host that no process of the container was given", 0, "",
                then: "the connection is the overflow user's, 65534:65534")
        }
    }

    /// The table in docs/reliability.md.
    package static let table =
        "| limit | of | value | beyond it |\n|---|---|---|---|\n"
        + allCases.map { limit in
            let facts = limit.facts
            let value = "\(facts.value)" + (facts.unit.isEmpty ? "" : " \(facts.unit)")
            return "| \(limit.rawValue) | \(facts.what) | \(value) | \(facts.then) |\n"
        }.joined()
}

extension ReplyLimits {
    /// The limits for a guest's agent.
    /// - Parameter reached: called each time that a limit is reached.
    package static func agent(_ reached: @escaping @Sendable (_ limit: GuestLimit, _ call: String) -> Void)
        -> ReplyLimits
    {
        ReplyLimits(
            ordinary: GuestLimit.reply.value, reply: { reply(of: $0).value }, largeCalls: GuestLimit.largeCalls.value,
            errorText: GuestLimit.errorText.value,
            reached: { limit, call in
                switch limit {
                case .reply: reached(reply(of: String(call.split(separator: "/").last ?? "")), call)
                case .largeCalls: reached(.largeCalls, call)
                case .errorText: reached(.errorText, call)
                }
            })
    }

    /// The limit of a method's reply. Decoded, a reply can take thirty times its bytes, so only plain text may have
    /// megabytes.
    private static func reply(of method: String) -> GuestLimit {
        switch method {
        case "GetMetrics", "ListProcesses": .text
        case "StatsContainer", "ListInterfaces", "UpdateInterface", "ListRoutes", "UpdateRoutes": .figures
        default: .reply
        }
    }
}
