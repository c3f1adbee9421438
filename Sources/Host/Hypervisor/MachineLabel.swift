import Glibc

/// What a machine is made from: another one of the same label is the same machine, but for its names and what it was given later.
package struct MachineLabel: Codable, Equatable, Sendable {
    /// Of this program.
    private var version: String
    private var arguments: [String]
    /// Size, time and inode of each file that a boot reads.
    private var files: [String: String]

    /// - Parameters:
    ///   - machine: paths and names that are one sandbox's are left out.
    ///   - helpers: words of what is started beside it; one that is a file's path counts as a file too.
    package init(_ machine: VMConfiguration, helpers: [String] = [], version: String) {
        var machine = machine
        (machine.name, machine.consoleFile, machine.pidFile) = ("", "", "")
        machine.networkNamespace = nil
        // Whether there is one matters, not where.
        machine.vsockSocket = machine.vsockSocket.map { _ in "vsock" }
        machine.shareSocket = machine.shareSocket.map { _ in "share" }
        machine.hostVsockCID = machine.hostVsockCID.map { _ in 3 }
        self.version = version
        arguments = QEMUArguments.build(machine) + helpers
        files = [:]
        var booted = [machine.kernel, machine.initrd, machine.image?.file].compactMap(\.self)
        if case .file(let firmware) = machine.firmware { booted.append(firmware) }
        for file in booted { files[file.path] = file.identity }
        for path in [machine.executable] + helpers where path.hasPrefix("/") {
            var facts = stat()
            files[path] =
                stat(path, &facts) == 0
                ? "\(facts.st_size) \(facts.st_mtim.tv_sec).\(facts.st_mtim.tv_nsec) \(facts.st_ino)" : "missing"
        }
    }

    /// How another machine, which is wanted, differs from this one: "made …"; nil: it doesn't.
    package func difference(from wanted: MachineLabel) -> String? {
        if self == wanted { return nil }
        if version != wanted.version { return "by version \(version)" }
        return arguments != wanted.arguments
            ? "with other settings" : "from other files (kernel, image or hypervisor)"
    }
}
