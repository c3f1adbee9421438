import Glibc

/// All inputs of a machine. Machines with equal fingerprints are interchangeable, but for their names and later
/// additions.
package struct VMFingerprint: Codable, Equatable, Sendable {
    /// This program's version.
    private var version: String
    private var arguments: [String]
    /// Size, time and inode of each file that a boot reads.
    private var files: [String: String]

    /// - Parameters:
    ///   - arguments: the hypervisor's command line, without parts that belong to one sandbox.
    ///   - booted: files that the guest boots from.
    ///   - programs: paths of programs.
    package init(version: String, arguments: [String], booted: VMConfiguration, programs: [String]) {
        (self.version, self.arguments) = (version, arguments)
        files = [:]
        var boots = booted
        // The files count, even when a template has them in its memory.
        boots.memory = .own
        for file in boots.bootFiles { files[file.path] = file.identity }
        for path in programs where path.hasPrefix("/") {
            var facts = stat()
            // SAFETY: stat(2) reads the path and fills the whole structure.
            files[path] =
                unsafe stat(path, &facts) == 0
                ? "\(facts.st_size) \(facts.st_mtim.tv_sec).\(facts.st_mtim.tv_nsec) \(facts.st_ino)" : "missing"
        }
    }

    /// The difference from another machine that is wanted, as "made …"; nil where there is none.
    package func mismatch(with wanted: VMFingerprint) -> String? {
        if self == wanted { return nil }
        if version != wanted.version { return "by version \(version)" }
        return arguments != wanted.arguments
            ? "with other settings" : "from other files (kernel, image or hypervisor)"
    }
}

extension VMConfiguration {
    /// The same machine without the names and paths of one sandbox.
    package var anonymous: VMConfiguration {
        var machine = self
        (machine.name, machine.directory, machine.consoleFile) = ("", "", "")
        machine.networkNamespace = nil
        // Only whether there is one matters, not its path.
        machine.vsockSocket = vsockSocket.map { _ in "vsock" }
        machine.shareSocket = shareSocket.map { _ in "share" }
        machine.hostVsockCID = hostVsockCID.map { _ in 3 }
        return machine
    }
}
