import AgentAPI
import CLinux
import EventLoop
import FoundationEssentials
import Glibc
import Hypervisor
import LinuxKernel
import Streams

import protocol NIOCore.EventLoop

/// A VM template: a machine that was booted once, without any sandbox's share or channel, and saved. Clones start
/// from it.
///
/// Its directory holds the memory, the rest of the state, and a fingerprint. A vhost-user device is not migratable: a
/// clone gets its own before it resumes.
package struct VMTemplate: Sendable {
    package let directory: String
    private let hypervisor: any Hypervisor
    /// The configuration of the template's machine, and of its clones.
    private let machine: VMConfiguration

    private var memory: String { directory + "/memory" }
    private var state: String { directory + "/state" }
    private static let fingerprintFile = "template.json"

    /// Ports for the clone's channel and share, beside those of the configuration.
    private static let portsForDevices = 2
    private static let maxPorts = 16

    /// - Parameter machine: a sandbox's machine; the template omits what only that sandbox has.
    package init(directory: String, of machine: VMConfiguration, by hypervisor: any Hypervisor) {
        (self.directory, self.hypervisor) = (directory, hypervisor)
        var machine = machine
        (machine.name, machine.directory, machine.consoleFile) = ("template", "", "")
        (machine.vsockSocket, machine.shareSocket, machine.hostVsockCID) = (nil, nil, nil)
        (machine.networkNamespace, machine.user) = (nil, nil)
        machine.hotPlugPorts = min(Self.maxPorts, machine.hotPlugPorts + Self.portsForDevices)
        self.machine = machine
    }

    // MARK: Fingerprint

    private func fingerprint(version: String) -> VMFingerprint {
        hypervisor.fingerprint(of: machine, helpers: [], version: version)
    }

    /// The reason why the template can't be used; nil where it can.
    package func unavailableReason(version: String) -> String? {
        let path = directory + "/" + Self.fingerprintFile
        guard Files.exists(path) else { return "there is none in \(directory): kata-runtime factory init makes it" }
        let bytes: [UInt8]
        do {
            try FileOwner.checkDirectory(directory)
            bytes = try FileOwner.open(path).readAll(path, limit: 1 << 20)
        } catch { return "\(error)" }
        guard let made = try? JSONDecoder().decode(VMFingerprint.self, from: Data(bytes)) else {
            return "\(path) is no label of a template"
        }
        return made.mismatch(with: fingerprint(version: version)).map {
            "that in \(directory) was made \($0): kata-runtime factory init makes it anew"
        }
    }

    func writeFingerprint(version: String, in directory: String) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .prettyPrinted, .withoutEscapingSlashes]
        try Files.write(
            directory + "/" + Self.fingerprintFile, Array(try encoder.encode(fingerprint(version: version))))
    }

    /// Whether a directory holds a template and nothing else.
    package static func isTemplate(_ directory: String) -> Bool { Files.exists(directory + "/" + fingerprintFile) }

    // MARK: Make

    /// Boots a machine, waits until its agent is ready, and saves it. An older template in the directory is replaced in
    /// one step at the end.
    /// - Throws: `SystemError`: EEXIST when the directory holds something else, or of a file that can't be written.
    ///   `VMError` when the machine ends, is not ready within `limit` or can't be saved.
    package func make(version: String, within limit: Duration, on loop: any EventLoop) async throws {
        guard !Files.exists(directory) || Self.isTemplate(directory) else {
            throw SystemError("make a template in (it holds something else)", directory, errno: EEXIST)
        }
        removeUnfinished()
        let work = directory + ".new-\(getpid())"
        try Files.makeDirectory(work)
        defer { Files.removeTree(work) }
        // Taken before the files are read: a file that changes meanwhile gives another fingerprint.
        try writeFingerprint(version: version, in: work)
        var machine = machine
        machine.memory = .file(work + "/memory")
        (machine.directory, machine.consoleFile) = (work, work + "/console.log")
        let logs = try BoundedLogs()
        defer { logs.stop() }
        let running = try await hypervisor.start(machine, logs: logs, memory: nil, on: loop) { _ in }
        do {
            try await Self.waitUntilReady(running, console: machine.consoleFile, within: limit, loop)
            let state = try FileDescriptor.open(work + "/state", O_RDWR | O_CREAT | O_TRUNC)
            try await running.saveState(to: state, within: Deadline.saving.limit)
        } catch {
            await running.stop(timeout: .zero)
            throw error
        }
        await running.stop(timeout: .zero)
        running.removeFiles()
        try remove()
        // SAFETY: the call only reads the two paths.
        try check("rename", work) { unsafe rename(work, directory) }
    }

    /// Removes directories of a `make` that was killed.
    private func removeUnfinished() {
        let (parent, own) = (Files.parent(of: directory), Files.name(of: directory))
        for name in Files.list(parent) where name.hasPrefix(own + ".new-") {
            if !ProcessIdentity.isOwnerAlive(ofName: name) { Files.removeTree(parent + "/" + name) }
        }
    }

    /// Polls the console: the guest has no channel yet, and nothing reports a new line of the console.
    private static func waitUntilReady(
        _ machine: any VirtualMachine, console: String, within limit: Duration, _ loop: any EventLoop
    ) async throws {
        let deadline = ContinuousClock.now + limit
        while !((try? Files.readText(console)) ?? "").contains(ConsoleLine.templateReady) {
            guard machine.exit == nil, .now < deadline else {
                let end = machine.exit.map { "\(machine.name) \($0)" } ?? "its agent was not ready within \(limit)"
                let words = machine.stderrTail() + machine.consoleTail(lines: 4)
                throw VMError("the template's machine: \(end); it said: \(words.joined(separator: " | "))")
            }
            try await sleep(consolePause, on: loop)
        }
    }

    private static let consolePause = Duration.milliseconds(20)

    /// Removes the directory, if it is a template's.
    /// - Throws: `SystemError` (EPERM) when the directory holds something else.
    package func remove() throws {
        guard Files.exists(directory) else { return }
        guard Self.isTemplate(directory) else {
            throw SystemError("remove (it is no template)", directory, errno: EPERM)
        }
        Files.removeTree(directory)
    }

    // MARK: Clone

    /// A clone's configuration, in place of `machine`, which would boot.
    package func configuration(for machine: VMConfiguration) -> VMConfiguration {
        var clone = self.machine
        (clone.name, clone.directory, clone.consoleFile) = (machine.name, machine.directory, machine.consoleFile)
        (clone.networkNamespace, clone.user) = (machine.networkNamespace, machine.user)
        clone.memory = .saved
        return clone
    }

    /// Opens an empty file of the memory's size; `fill` copies the contents later. The hypervisor may have it before:
    /// it can't shorten the file, and the channel's device accepts no other memory.
    /// - Throws: `SystemError` when the template's memory can't be opened (EPERM: others may write it), or the file
    ///   can't be made.
    package func emptyMemory() throws(SystemError) -> SharedDescriptor {
        let source = try FileOwner.open(memory)
        var facts = stat()
        // SAFETY: fstat(2) fills the whole structure.
        try check("look at", memory) { unsafe fstat(source.raw, &facts) }
        return SharedDescriptor(try FileDescriptor.memory("clone", size: facts.st_size))
    }

    /// Copies the pages that are not holes. Blocks.
    /// - Throws: `SystemError` when the memory can't be opened or copied; EIO when it became shorter meanwhile.
    package func fill(_ copy: SharedDescriptor) throws(SystemError) {
        let source = try FileOwner.open(memory)
        var end: off_t = 0
        while true {
            // ENXIO: only holes follow (lseek(2)).
            let start = lseek(source.raw, end, Int32(clx_seek_data))
            guard start >= 0 else { return }
            end = lseek(source.raw, start, Int32(clx_seek_hole))
            var offset = start
            lseek(copy.raw, start, SEEK_SET)
            while offset < end {
                // SAFETY: sendfile(2) only reads and writes `offset`; the bytes stay in the kernel.
                let count = try check("copy", memory) {
                    unsafe sendfile(copy.raw, source.raw, &offset, Int(end - offset))
                }
                if count == 0 { throw SystemError("copy (it became shorter)", memory, errno: EIO) }
            }
        }
    }

    /// Loads the rest of the template's state into a clone that has its memory.
    /// - Throws: `SystemError` when the state can't be opened (EPERM: others may write it). `VMError` when the clone
    ///   does not load it in time.
    package func restore(_ clone: any VirtualMachine) async throws {
        let state = try FileOwner.open(state)
        try await clone.loadState(from: state, within: Deadline.saving.limit)
    }

    /// Connects a clone to its own channel and share, and resumes it.
    /// - Throws: `VMError` with the hypervisor's refusal. `SystemError` when a socket of the channel or the share has
    ///   no listener.
    package func resume(_ clone: any VirtualMachine, as machine: VMConfiguration) async throws {
        try await clone.connect(machine)
        try await clone.resume()
    }
}
