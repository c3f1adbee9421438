import LinuxKernel
import OCISpec

/// The further program of `exec`: a file's, or the container's own process with changes.
package struct FurtherProgram: Sendable {
    /// Changes of the container's own process, by the options' names; nil and empty ones change nothing.
    package struct Changes: Sendable {
        package var cwd: String?
        /// `NAME=VALUE`.
        package var env: [String] = []
        /// `UID` or `UID:GID`.
        package var user: String?
        package var additionalGids: [UInt32] = []
        package var cap: [String] = []
        package var noNewPrivs = false
        package var processLabel: String?
        package var apparmor: String?

        package init() {}
    }

    private let words: [String]
    private let hasTerminal: Bool
    private let changes: Changes

    /// - Parameter command: the program and its arguments, perhaps after `--`.
    /// - Throws: `RuntimeError` without a program.
    package init(_ command: [String], terminal: Bool, _ changes: Changes) throws(RuntimeError) {
        words = command.first == "--" ? Array(command.dropFirst()) : command
        guard !words.isEmpty else { throw RuntimeError("no program to run: give one after the id, or --process") }
        (hasTerminal, self.changes) = (terminal, changes)
    }

    /// - Returns: the process to run in the container.
    /// - Throws: `SystemError` and `SpecError` for the container's config.json; `RuntimeError` for one without a process,
    ///   or for a user that is no number.
    package func process(in state: ContainerState) throws -> OCISpec.Process {
        guard let own = try Spec.load(bundle: state.bundle).process else {
            throw RuntimeError("\(state.bundle)/config.json has no process to take the environment from")
        }
        return try process(like: own)
    }

    func process(like own: OCISpec.Process) throws(RuntimeError) -> OCISpec.Process {
        var result = own
        result.args = words
        result.terminal = hasTerminal
        result.consoleSize = nil
        if let cwd = changes.cwd { result.cwd = cwd }
        result.env = (result.env ?? []) + changes.env
        if let user = changes.user {
            (result.user.uid, result.user.gid) = try Self.ids(user, defaultGroup: result.user.gid)
        }
        if !changes.additionalGids.isEmpty {
            result.user.additionalGids = (result.user.additionalGids ?? []) + changes.additionalGids
        }
        if let label = changes.processLabel { result.selinuxLabel = label }
        if let apparmor = changes.apparmor { result.apparmorProfile = apparmor }
        if changes.noNewPrivs { result.noNewPrivileges = true }
        if !changes.cap.isEmpty { result.capabilities = (result.capabilities ?? .init()).adding(changes.cap) }
        return result
    }

    private static func ids(_ user: String, defaultGroup: UInt32) throws(RuntimeError) -> (uid: UInt32, gid: UInt32) {
        let numbers = user.split(separator: ":", omittingEmptySubsequences: false).map { UInt32($0) }
        guard (1...2).contains(numbers.count), let uid = numbers[0],
            let gid = numbers.count == 2 ? numbers[1] : defaultGroup
        else { throw RuntimeError("--user \"\(user)\": expected UID or UID:GID, in numbers") }
        return (uid, gid)
    }
}
