import Glibc
import LinuxKernel

/// The content of /var/lib/osbuilder/osbuilder.yaml, which says what an image was made of, in the format of Kata's
/// tools.
package struct Metadata: Sendable, Equatable {
    package static let path = "var/lib/osbuilder/osbuilder.yaml"

    var description = "Kata Containers guest"
    /// The distribution's name and version; "none" for an image of the agent alone.
    var distribution = (name: "none", version: "none")
    var packages: [String] = []
    var extraPackages: [String] = []
    var agentVersion: String
    var isInit: Bool

    init(_ image: GuestImage) {
        agentVersion = Self.version(of: image.agent)
        isInit = image.initial == .agent
    }

    package static func == (one: Metadata, other: Metadata) -> Bool { one.text == other.text }

    /// The version that the agent reports; `unknown` when it can't run here.
    private static func version(of agent: String) -> String {
        let words = (try? Program(Files.absolute(agent), ["--version"]).run("ask the agent"))?.split(separator: " ")
        return words?.count == 2 ? words![1].filter { $0 != "\n" } : "unknown"
    }

    /// The text of the file. Its creation time is SOURCE_DATE_EPOCH, so that the same inputs give the same bytes.
    var text: String {
        func list(_ items: [String]) -> String {
            items.isEmpty ? " []" : items.map { "\n      - \"\($0)\"" }.joined()
        }
        return """
            ---
            osbuilder:
              url: ""
              version: "\(agentVersion)"
            rootfs-creation-time: "\(Self.time)"
            description: "\(description)"
            file-format-version: "0.0.2"
            architecture: "x86_64"
            base-distro:
              name: "\(distribution.name)"
              version: "\(distribution.version)"
              packages:
                default:\(list(packages))
                extra:\(list(extraPackages))
            agent:
              url: ""
              name: "kata-agent"
              version: "\(agentVersion)"
              agent-is-init-daemon: "\(isInit ? "yes" : "no")"

            """
    }

    /// The time of all files in images, in seconds since 1970 (reproducible-builds.org, SOURCE_DATE_EPOCH).
    static var epoch: Int {
        // SAFETY: no thread changes the environment.
        unsafe getenv("SOURCE_DATE_EPOCH").flatMap { unsafe Int(String(cString: $0)) } ?? 0
    }

    private static var time: String {
        var seconds = epoch
        // SAFETY: `parts` begins as zeros; gmtime_r(3) fills it, and strftime(3) writes at most `text.count` bytes.
        var parts = unsafe tm()
        unsafe gmtime_r(&seconds, &parts)
        var text = [CChar](repeating: 0, count: 64)
        let length = unsafe strftime(&text, text.count, "%Y-%m-%dT%H:%M:%S.000000000+00:00", &parts)
        return String(decoding: text.prefix(length).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
